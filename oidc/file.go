package oidc

import (
	"errors"

	"github.com/claimgate/claimgate/internal/regularfile"
)

// fileError says what is wrong with a file that the configuration names, and
// what to do. It never quotes the file.
type fileError struct {
	what string // the file's role, such as "CA file"
	path string
	text string
	err  error // nil, or the cause
}

func (e *fileError) Error() string { return e.what + " " + e.path + ": " + e.text }
func (e *fileError) Unwrap() error { return e.err }

// readFile reads a file that the configuration names, limit bytes at most. The
// error is a [*fileError].
func readFile(what, path string, limit int) ([]byte, error) {
	data, err := regularfile.Read(path, limit)
	var unread *regularfile.Error
	if errors.As(err, &unread) {
		return nil, &fileError{what, path, unread.Text, unread.Err}
	}
	return data, err
}
