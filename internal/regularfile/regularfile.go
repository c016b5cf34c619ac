// Package regularfile reads files that a configuration names.
//
// Such a path may be wrong: it may lead to a directory, to a pipe that nobody
// writes to or to a device that has no end. [Read] refuses what is no regular
// file without waiting for it, and reads no more than was asked for, so whoever
// reads can be stopped:
//
//	pem, err := regularfile.Read("/etc/claimgate/ca.pem", 4<<20)
package regularfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// Error says why a file was not read, and what to do. It never quotes the file.
type Error struct {
	Path string
	Text string // without the path
	Err  error  // nil, or the cause
}

// Error implements error.
func (e *Error) Error() string { return e.Path + ": " + e.Text }

// Unwrap returns the cause: [ErrTooLarge], [fs.ErrNotExist], or what else the
// system said.
func (e *Error) Unwrap() error { return e.Err }

// ErrTooLarge is the cause of an [Error] about a file that has more bytes than
// were asked for.
var ErrTooLarge = errors.New("too large")

// Read reads a regular file, limit bytes at most. Links are followed. The error
// is an [*Error].
func Read(path string, limit int) ([]byte, error) {
	fail := func(err error, format string, args ...any) ([]byte, error) {
		return nil, &Error{path, fmt.Sprintf(format, args...), err}
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) //nolint:gosec // the configuration names it
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fail(err, "there is no such file: put it there, or correct the path")
	case errors.Is(err, fs.ErrPermission):
		return fail(err, "no permission to read it: let the user that runs this program read it")
	case err != nil:
		return fail(err, "cannot be read: %v", Cause(err))
	}
	defer f.Close() //nolint:errcheck // it was only read
	info, err := f.Stat()
	switch {
	case err != nil:
		return fail(err, "cannot be read: %v", Cause(err))
	case info.IsDir():
		return fail(nil, "is a directory: name a file in it")
	case !info.Mode().IsRegular():
		return fail(nil, "is no regular file: name one")
	}
	data, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	switch {
	case err != nil:
		return fail(err, "cannot be read: %v", Cause(err))
	case len(data) > limit:
		return fail(ErrTooLarge, "is over %d KiB: it is probably another file than was meant", limit>>10)
	}
	return data, nil
}

// Cause is err without the path, which whoever reports it names already.
func Cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
