package regularfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/claimgate/claimgate/internal/regularfile"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWhatIsNoRegularFileIsRefusedWithoutWaiting(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(path("file"), []byte("1234"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", path("link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("loop", path("loop")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		path  string
		limit int
		want  string // of the error, "" for none
		cause error
	}{
		{path("file"), 4, "", nil},
		{path("link"), 4, "", nil},
		{path("file"), 3, "is over 0 KiB: it is probably another file than was meant", regularfile.ErrTooLarge},
		{path("gone"), 4, "there is no such file: put it there, or correct the path", fs.ErrNotExist},
		{path("loop"), 4, "cannot be read: too many levels of symbolic links", nil},
		{dir, 4, "is a directory: name a file in it", nil},
		{path("pipe"), 4, "is no regular file: name one", nil},
		{"/dev/zero", 4, "is no regular file: name one", nil},
		{"", 4, "there is no such file: put it there, or correct the path", fs.ErrNotExist},
		{"\x00", 4, "cannot be read: invalid argument", nil},
	} {
		data, err := regularfile.Read(tc.path, tc.limit)
		switch {
		case tc.want == "" && (err != nil || string(data) != "1234"):
			t.Errorf("%s: %q, %v", tc.path, data, err)
		case tc.want != "" && (err == nil || err.Error() != tc.path+": "+tc.want):
			t.Errorf("%s: %v, want %s", tc.path, err, tc.want)
		case tc.cause != nil && !errors.Is(err, tc.cause):
			t.Errorf("%s: the cause is no %v", tc.path, tc.cause)
		case tc.want != "" && data != nil:
			t.Errorf("%s: an error and data", tc.path)
		}
	}
}

func TestAFileWithoutPermissionIsRefused(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read everything")
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := regularfile.Read(path, 1); err == nil || !strings.Contains(err.Error(), "no permission to read it") {
		t.Errorf("%v", err)
	}
}
