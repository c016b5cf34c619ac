package oidc

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
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

// readFile reads a file that the configuration names, limit bytes at most. What
// is no regular file is refused unread: a pipe would hold the reader up.
func readFile(what, path string, limit int) ([]byte, error) {
	fail := func(err error, format string, args ...any) ([]byte, error) {
		return nil, &fileError{what, path, fmt.Sprintf(format, args...), err}
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) //nolint:gosec // the configuration names it
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fail(err, "there is no such file: put it there, or correct the path")
	case errors.Is(err, fs.ErrPermission):
		return fail(err, "no permission to read it: let the user that runs this program read it")
	case err != nil:
		return fail(err, "cannot be read: %v", pathCause(err))
	}
	defer f.Close() //nolint:errcheck // it was only read
	info, err := f.Stat()
	switch {
	case err != nil:
		return fail(err, "cannot be read: %v", pathCause(err))
	case info.IsDir():
		return fail(nil, "is a directory: name a file in it")
	case !info.Mode().IsRegular():
		return fail(nil, "is no regular file: name one")
	}
	data, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	switch {
	case err != nil:
		return fail(err, "cannot be read: %v", pathCause(err))
	case len(data) > limit:
		return fail(errFileTooLarge, "is over %d KiB: it is probably another file than was meant", limit>>10)
	}
	return data, nil
}

var errFileTooLarge = errors.New("too large")

// pathCause is err without the path, which our own text names.
func pathCause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
