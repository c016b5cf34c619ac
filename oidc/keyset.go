package oidc

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits of a key set.
const (
	maxKeys       = 128
	maxCandidates = 4 // keys tried for one token; more would be work for free
)

// Why a whole set is unusable.
var (
	errSetSyntax   = errors.New("not a JSON object with an array \"keys\"")
	errSetTooLarge = errors.New("more than 128 keys")
	errSetEmpty    = errors.New("no keys")
	errSetUnusable = errors.New("no usable key")
)

// keySet is the usable keys of an issuer. It is immutable.
type keySet struct {
	keys    []key
	skipped []SkippedKey
	byKID   map[string][]key
	digest  digest        // of the usable keys, whatever their order and spelling
	life    time.Duration // the set's own word on how long it is good, 0 if it says nothing
}

// unusableSet is errSetUnusable with the keys that were looked at.
type unusableSet struct{ skipped []SkippedKey }

func (*unusableSet) Error() string { return errSetUnusable.Error() }
func (*unusableSet) Unwrap() error { return errSetUnusable }

// SkippedKey is a key of an issuer's set that is not used.
type SkippedKey struct {
	// KeyID is the key's kid, "" if it has none or it could not be read; cut
	// at 256 bytes. The issuer chose it: quote it, and do not make a label of it.
	KeyID string
	// Reason is one of a fixed list of texts.
	Reason string
}

// String quotes the key's identifier and says why the key is not used.
func (k SkippedKey) String() string {
	if k.KeyID == "" {
		return "a key without kid: " + k.Reason
	}
	return strconv.QuoteToASCII(k.KeyID) + ": " + k.Reason
}

// OtherPurpose reports whether the key is for something else than signatures, such
// as encryption. Issuers publish such keys, and nobody misses them here.
func (k SkippedKey) OtherPurpose() bool {
	return k.Reason == errKeyUse.Error() || k.Reason == errKeyOps.Error()
}

// parseKeySet reads a JWK set (RFC 7517 section 5) key by key: one bad key is
// skipped and listed, and the rest is used. That matters, since issuers publish
// keys of kinds that did not exist when this was written. An error means that
// the set as a whole is unusable.
func parseKeySet(body []byte) (*keySet, error) {
	texts, life, err := splitKeySet(body)
	if err != nil {
		return nil, err
	}
	if len(texts) == 0 {
		return nil, errSetEmpty
	}
	s := &keySet{byKID: map[string][]key{}, life: life}
	for _, text := range texts {
		k, err := parseKey(text)
		if err != nil {
			s.skipped = append(s.skipped, SkippedKey{KeyID: k.kid[:min(len(k.kid), maxKeyIDSize)], Reason: err.Error()})
			continue
		}
		s.keys = append(s.keys, k)
		if k.hasKID {
			s.byKID[k.kid] = append(s.byKID[k.kid], k)
		}
	}
	if len(s.keys) == 0 {
		return nil, &unusableSet{s.skipped}
	}
	s.digest = digestKeys(s.keys)
	return s, nil
}

// splitKeySet returns the text of each key, if there are not too many, and the
// refresh hint of a SPIFFE bundle (Trust Domain and Bundle section 4.1), 0 for
// none. It is lenient where the strict JSON of this package is not: invalid UTF-8
// or a duplicate member spoils the key that it is in, not the set. json.Valid
// judges the grammar alone; nothing is decoded by encoding/json.
func splitKeySet(body []byte) ([]string, time.Duration, error) {
	if !json.Valid(body) {
		return nil, 0, errSetSyntax
	}
	text := strings.Trim(string(body), " \t\r\n")
	if text[0] != '{' {
		return nil, 0, errSetSyntax
	}
	var array Value
	var hint time.Duration
	found := 0
	for w := (jsonWalker{s: text, pos: 1}); w.more('}'); {
		name := w.value()
		w.more(':')
		value := w.value()
		n, err := parseJSON(name.raw)
		switch {
		case err != nil:
		case n.Text() == "keys":
			array = value
			found++
		case n.Text() == "spiffe_refresh_hint":
			if seconds, ok := value.Int64(); ok && seconds > 0 {
				hint = time.Duration(min(seconds, int64(maxLifetime/time.Second))) * time.Second
			}
		}
	}
	if found != 1 || array.Kind() != KindArray { // two arrays: nobody knows which is meant
		return nil, 0, errSetSyntax
	}
	var texts []string
	for e := range array.Elements() {
		if len(texts) == maxKeys {
			return nil, 0, errSetTooLarge // before a list of them takes more memory than the set
		}
		texts = append(texts, e.raw)
	}
	return texts, hint, nil
}

// digestKeys returns a digest that is equal for equal keys.
func digestKeys(keys []key) digest {
	sums := make([][]byte, len(keys))
	for i, k := range keys {
		der, err := x509.MarshalPKIXPublicKey(k.pub)
		if err != nil { // not for the types that a key can have
			panic(err)
		}
		h := sha256.New()
		var head [3]byte
		if k.hasKID {
			head[0] = 1
		}
		binary.BigEndian.PutUint16(head[1:], uint16(k.algs))
		h.Write(head[:])
		for _, part := range []string{k.kid, k.use, k.issuer, string(der)} {
			var size [8]byte // before each part, so that they cannot run into each other
			binary.BigEndian.PutUint64(size[:], uint64(len(part)))
			h.Write(size[:])
			h.Write([]byte(part))
		}
		sums[i] = h.Sum(nil)
	}
	slices.SortFunc(sums, bytes.Compare)
	return sha256.Sum256(bytes.Join(sums, nil))
}

// keyHint is what a token, and the issuer that it belongs to, say about the key
// that it may be signed with.
type keyHint struct {
	alg      Algorithm
	kid      string
	hasKID   bool
	uses     []string // accepted values of use; nil: all that parseKey lets in
	issuers  []string // of which a key that is bound to an issuer must name one
	tenantID string   // what {tenantid} in the key's issuer stands for, "" if unknown

	// Who asks the same of the same keys at the same time can have one answer. A
	// nil issuer means that nobody does.
	token  digest
	issuer *issuer
}

// fits reports whether k may verify such a token.
func (h *keyHint) fits(k *key) bool {
	if k.algs&h.alg.bit() == 0 || h.uses != nil && !slices.Contains(h.uses, k.use) {
		return false
	}
	if k.issuer == "" {
		return true
	}
	bound, ok := fillTenantID(k.issuer, h.tenantID)
	return ok && slices.Contains(h.issuers, bound)
}

// candidates returns the keys that a token's signature is to be tried with.
// With a key ID these are the keys of exactly that ID that fit, a few at most;
// known tells whether there is any key of that ID. Without one there must be
// exactly one key that fits: to try all of them would let a token choose by
// trial.
func (s *keySet) candidates(h keyHint) (keys []key, known bool) {
	if h.hasKID {
		named := s.byKID[h.kid]
		return limit(fitting(named, &h)), len(named) > 0
	}
	fit := fitting(s.keys, &h)
	if len(fit) != 1 {
		return nil, false
	}
	return fit, true
}

func limit(keys []key) []key { return keys[:min(len(keys), maxCandidates)] }

// fitting returns the keys that fit. It allocates only if some do not.
func fitting(keys []key, h *keyHint) []key {
	misfit := func(k key) bool { return !h.fits(&k) }
	if !slices.ContainsFunc(keys, misfit) {
		return keys
	}
	return slices.DeleteFunc(slices.Clone(keys), misfit)
}
