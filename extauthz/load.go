package extauthz

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxConfigSize is more than Kubernetes keeps in a ConfigMap, and room for some
// ten thousand issuers.
const maxConfigSize = 1 << 20

// LoadConfig reads a configuration file. The error is a [*ConfigError] that has
// every problem of the file.
func LoadConfig(file string) (*Config, error) {
	data, err := readConfig(file)
	if err != nil {
		return nil, &ConfigError{[]Problem{{File: file, Text: err.Error()}}}
	}
	return ParseConfig(file, data)
}

func readConfig(file string) ([]byte, error) {
	r, err := os.Open(file) //nolint:gosec // the operator names it
	if err != nil {
		return nil, readError(err)
	}
	defer r.Close() //nolint:errcheck // it was only read
	data, err := io.ReadAll(io.LimitReader(r, maxConfigSize+1))
	if err != nil {
		return nil, readError(err)
	}
	return data, nil
}

// readError says what is wrong and how to mend it. The file's name stands before
// it already.
func readError(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("there is no such file: give the path of a configuration file, or write one; docs/configuration.md has the smallest")
	case errors.Is(err, fs.ErrPermission):
		return errors.New("no permission to read the file: let the user that runs claimgate read it")
	}
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		err = pathError.Err
	}
	return fmt.Errorf("cannot be read: %w: give the path of a configuration file", err)
}

// ParseConfig reads a configuration. The error is a [*ConfigError] that has every
// problem of the file.
//
// file is the configuration's name in messages, and relative paths in data are
// relative to its directory; it need not exist.
func ParseConfig(file string, data []byte) (*Config, error) {
	cfg, _, err := parseConfig(file, data)
	return cfg, err
}

func parseConfig(file string, data []byte) (*Config, *faults, error) {
	f := newFaults(file)
	f.at = map[fieldPath]filePosition{}
	if len(data) > maxConfigSize {
		f.add("", "the file is larger than 1 MiB")
		return nil, nil, f.err()
	}
	cfg := &Config{}
	if decodeYAML(data, cfg, f) {
		cfg.validate(f)
	}
	if err := f.err(); err != nil {
		return nil, nil, err
	}
	cfg.resolvePaths(filepath.Dir(file))
	return cfg, f, nil
}

// Fields knows where the fields of a configuration file stand, so that what is found
// out later about their values can be said with the place. The zero Fields knows no
// place.
type Fields struct{ faults *faults }

// LoadConfigFields is [LoadConfig], and tells where the fields stand.
func LoadConfigFields(file string) (*Config, Fields, error) {
	data, err := readConfig(file)
	if err != nil {
		return nil, Fields{}, &ConfigError{[]Problem{{File: file, Text: err.Error()}}}
	}
	cfg, f, err := parseConfig(file, data)
	return cfg, Fields{f}, err
}

// Problem is text about the field at path, such as issuers[0].http.caFile. A field
// that the file does not have is placed where it would belong. What could steer a
// terminal is escaped in the text.
func (f Fields) Problem(path, text string) Problem {
	if f.faults == nil {
		return Problem{Path: path, Text: printable(text)}
	}
	at := f.faults.position(fieldPath(path))
	return Problem{f.faults.file, at.line, at.column, path, printable(text)}
}

// digest tells contents of files apart.
type digest = [sha256.Size]byte

func digestOf(data []byte) digest { return sha256.Sum256(data) }

// resolvePaths makes relative paths relative to dir.
func (c *Config) resolvePaths(dir string) {
	for _, path := range c.Server.TLS.files() {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(dir, *path)
		}
	}
	for i := range c.Issuers {
		for _, f := range c.Issuers[i].files() {
			if *f.path != "" && !filepath.IsAbs(*f.path) {
				*f.path = filepath.Join(dir, *f.path)
			}
		}
	}
}
