package oidc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/claimgate/claimgate/internal/regularfile"
)

const (
	whatSnapshot      = "snapshot file"
	snapshotVersion   = "1"
	maxSnapshotHeader = 16 << 10
	maxSnapshotSkew   = time.Minute // a snapshot from further in the future is not believed
)

// snapshot is an issuer's last good key set as it is kept on disk, so that a
// restart while the issuer is down decides as before it: one line of JSON that
// says what it is, and then the key set as the issuer sent it.
//
// Whoever can write the file can make tokens until the next fetch succeeds, so
// no entity tag is kept: that fetch asks for the whole set.
type snapshot struct {
	issuer      string
	metadataURL string // where the metadata was found, "" if the key set's place is configured
	keysURL     string // where the key set is from
	fetchedAt   time.Time
	keySet      []byte
}

// snapshotHeader is the first line.
type snapshotHeader struct {
	Version     string    `json:"version"`
	Issuer      string    `json:"issuer"`
	MetadataURL string    `json:"metadata_url"`
	KeysURL     string    `json:"jwks_url"`
	FetchedAt   time.Time `json:"fetched_at"`
}

func (s snapshot) marshal() ([]byte, error) {
	header, err := json.Marshal(snapshotHeader{snapshotVersion, s.issuer, s.metadataURL, s.keysURL, s.fetchedAt.UTC()})
	if err != nil {
		return nil, err
	}
	return bytes.Join([][]byte{header, s.keySet}, []byte("\n")), nil
}

// parseSnapshot reads a snapshot with the parser that reads tokens: the file may
// be anybody's. Of the key set only the size is judged.
func parseSnapshot(data []byte) (snapshot, error) {
	line, keySet, ok := bytes.Cut(data, []byte("\n"))
	if !ok || len(line) > maxSnapshotHeader || len(keySet) > maxDocumentSize {
		return snapshot{}, errors.New("is no snapshot of keys")
	}
	header, err := parseJSON(string(line))
	if err != nil || header.Kind() != KindObject {
		return snapshot{}, errors.New("is no snapshot of keys")
	}
	text := func(name string) string {
		v, _ := header.Member(name)
		if v.Kind() != KindString {
			return ""
		}
		return v.Text()
	}
	if text("version") != snapshotVersion {
		return snapshot{}, errors.New("is of another version")
	}
	at, err := time.Parse(time.RFC3339Nano, text("fetched_at"))
	if err != nil {
		return snapshot{}, errors.New("is no snapshot of keys: it has no time")
	}
	return snapshot{text("issuer"), text("metadata_url"), text("jwks_url"), at, keySet}, nil
}

// snapshotFile is where an issuer's snapshot is kept.
type snapshotFile struct {
	path     string
	maxStale time.Duration
	source   *keySource // to which a snapshot must belong
}

// load returns the keys of the snapshot and when they were fetched; all is zero
// if there is none.
func (f *snapshotFile) load(now time.Time) (fetched, time.Time, error) {
	fail := func(err error) (fetched, time.Time, error) {
		return fetched{}, time.Time{}, &fileError{whatSnapshot, f.path, err.Error(), err}
	}
	data, err := readFile(whatSnapshot, f.path, maxSnapshotHeader+maxDocumentSize)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fetched{}, time.Time{}, nil
	case err != nil:
		return fetched{}, time.Time{}, err
	}
	if info, err := os.Stat(f.path); err == nil && info.Mode().Perm()&0o002 != 0 {
		return fail(errors.New("everybody may write it, and so make tokens: set its mode to 0600"))
	}
	s, err := parseSnapshot(data)
	if err != nil {
		return fail(err)
	}
	switch age := now.Sub(s.fetchedAt); {
	case age >= f.maxStale:
		return fail(fmt.Errorf("is from %s, too old to be used", s.fetchedAt.UTC().Format(time.RFC3339)))
	case age < -maxSnapshotSkew:
		return fail(fmt.Errorf("is from %s, which is yet to come: look at this machine's clock", s.fetchedAt.UTC().Format(time.RFC3339)))
	case age < 0:
		s.fetchedAt = now
	}
	set, err := parseKeySet(s.keySet)
	if err != nil {
		return fail(err)
	}
	if err := f.source.adopt(s); err != nil {
		return fail(err)
	}
	return fetched{set: set}, s.fetchedAt, nil
}

// save writes a snapshot in place of the one before, or leaves that one.
func (f *snapshotFile) save(s snapshot) (err error) {
	data, err := s.marshal()
	if err != nil {
		return err
	}
	dir := filepath.Dir(f.path)
	temp, err := os.CreateTemp(dir, "."+filepath.Base(f.path)+".*") // of mode 0600
	if err != nil {
		return f.saveError(err)
	}
	defer func() {
		if err != nil {
			_ = temp.Close() // the other error says more, here and below
			_ = os.Remove(temp.Name())
			err = f.saveError(err)
		}
	}()
	if _, err := temp.Write(data); err != nil {
		return err
	}
	if err := temp.Sync(); err != nil {
		return err
	}
	if err := temp.Close(); err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), f.path); err != nil {
		return err
	}
	if d, err := os.Open(dir); err == nil { //nolint:gosec // the configuration names it
		_ = d.Sync() // not every file system can; the file is whole in any case
		_ = d.Close()
	}
	return nil
}

func (f *snapshotFile) saveError(err error) error {
	var le *os.LinkError
	if errors.As(err, &le) {
		err = le.Err
	}
	advice := "let the user that runs this program write in its directory"
	if errors.Is(err, syscall.ENOSPC) {
		advice = "make room on its disk"
	}
	return &fileError{whatSnapshot, f.path, fmt.Sprintf("cannot be written: %v: %s", regularfile.Cause(err), advice), err}
}
