package oidc

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/claimgate/claimgate/internal/regularfile"
)

const (
	whatKeyFileSet = "key set file"
	// fileLife is how long the keys of a file are good: it is looked at again at
	// 80 % of that, whatever came of the last look.
	fileLife = 2 * time.Second
)

// fileSource reads the key set of one issuer from a file. It is not for
// concurrent use.
type fileSource struct {
	issuerName string
	path       string
	keys       KeysConfig
	clock      func() time.Time
	onFetch    func(FetchEvent)

	read bool   // sum is of what was read last, and set or err came of it
	sum  digest // a file is the same if its content is, whatever its times say
	set  *keySet
	err  error
}

func newFileSource(cfg issuerKeysConfig, clock func() time.Time, onFetch func(FetchEvent)) (*fileSource, error) {
	if cfg.jwksURL != "" || cfg.discoveryURL != "" {
		return nil, errors.New("JWKSFile is set, and JWKSURL or DiscoveryURL too")
	}
	if cfg.keys.SnapshotFile != "" {
		return nil, errors.New("JWKSFile and Keys.SnapshotFile are both set: the keys are on disk already")
	}
	return &fileSource{issuerName: cfg.name, path: cfg.jwksFile, keys: cfg.keys, clock: clock, onFetch: onFetch}, nil
}

// fetch looks at the file. A look at a good file is a success, whether it has
// changed or not.
func (s *fileSource) fetch(context.Context, bool) (fetched, error) {
	start := s.clock()
	result, err := s.look()
	if s.onFetch != nil {
		s.onFetch(FetchEvent{
			IssuerName: s.issuerName, Kind: FetchJWKS, URL: s.path,
			Result: result, Duration: s.clock().Sub(start), Err: err,
		})
	}
	if err != nil {
		return fetched{}, err
	}
	return fetched{set: s.set, life: min(fileLife, s.keys.maxStale())}, nil
}

// look reads the file and, if it is another one than last time, parses it.
func (s *fileSource) look() (FetchResult, error) {
	data, err := readFile(whatKeyFileSet, s.path, maxDocumentSize)
	if err != nil {
		s.read = false
		result := FetchConnect
		if errors.Is(err, regularfile.ErrTooLarge) {
			result = FetchTooLarge
		}
		return result, &fetchError{result, err}
	}
	result := FetchNotModified
	if sum := sha256.Sum256(data); !s.read || sum != s.sum {
		result = FetchOK
		s.sum, s.read = sum, true
		var set *keySet
		if set, s.err = parseKeySet(data); s.err == nil {
			s.set = set
		}
	}
	if s.err == nil {
		return result, nil
	}
	err = labelKeySet(s.err)
	var fe *fetchError
	errors.As(err, &fe)
	return fe.result, &fetchError{fe.result, fmt.Errorf("%w: write a JWK set (RFC 7517) there",
		&fileError{whatKeyFileSet, s.path, s.err.Error(), s.err})}
}
