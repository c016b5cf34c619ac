package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/claimgate/claimgate/extauthz"
)

// loadConfig reads a configuration file. A file that cannot be read gets one
// line that says what to do.
func loadConfig(file string) (*extauthz.Config, error) {
	cfg, err := extauthz.LoadConfig(file)
	var path *fs.PathError
	switch {
	case err == nil:
		return cfg, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no file %s: check the path, or write one (docs/configuration.md begins with the smallest)", file)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("no permission to read %s: make it readable for this user", file)
	case errors.As(err, &path):
		return nil, fmt.Errorf("cannot read %s: %w", file, path.Err)
	default:
		return nil, err
	}
}
