package extauthz

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/claimgate/claimgate/internal/regularfile"
)

// maxConfigSize is more than Kubernetes keeps in a ConfigMap, and room for some
// ten thousand issuers.
const maxConfigSize = 1 << 20

// LoadConfig reads a configuration file. The error is a [*ConfigError] that has
// every problem of the file. A pipe, as shells make one of <(command), is read
// to its end.
func LoadConfig(file string) (*Config, error) {
	data, err := readOnce(file)
	if err != nil {
		return nil, unreadable(file, err)
	}
	return ParseConfig(file, data)
}

// readOnce is readConfig, and reads a pipe too: there whoever asks can be made to
// wait.
func readOnce(file string) ([]byte, error) {
	if info, err := os.Stat(file); err != nil || info.Mode()&fs.ModeNamedPipe == 0 {
		return readConfig(file)
	}
	r, err := os.Open(file) //nolint:gosec // the operator names it
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // it was only read
	return io.ReadAll(io.LimitReader(r, maxConfigSize+1))
}

// readConfig reads a configuration file that may be looked at again and again,
// and never waits for it.
func readConfig(file string) ([]byte, error) { return regularfile.Read(file, maxConfigSize) }

// unreadable says why a file could not be read and how to mend it.
func unreadable(file string, err error) *ConfigError {
	p := Problem{File: file}
	var unread *regularfile.Error
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.Text = "there is no such file: give the path of a configuration file, or write one; docs/configuration.md has the smallest"
	case errors.Is(err, fs.ErrPermission):
		p.Text = "no permission to read the file: let the user that runs claimgate read it"
	case errors.Is(err, regularfile.ErrTooLarge):
		p.Line, p.Column, p.Text = 1, 1, tooLarge
	case errors.As(err, &unread):
		p.Text = unread.Text
	default:
		p.Text = fmt.Sprintf("cannot be read: %v", regularfile.Cause(err))
	}
	return &ConfigError{[]Problem{p}}
}

const tooLarge = "the file is larger than 1 MiB"

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
		f.add("", tooLarge)
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
	data, err := readOnce(file)
	if err != nil {
		return nil, Fields{}, unreadable(file, err)
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
