package release_test

import (
	"bytes"
	"debug/elf"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The binary is a function of the sources: another folder and a compiler that remembers
// nothing make the same one. (Without the stamp of the version control, which a copy
// does not have.)
func TestTwoBuildsAreTheSameBitForBit(t *testing.T) {
	here, elsewhere := build(t, root), build(t, copyOfSources(t), "GOCACHE="+t.TempDir())
	if !bytes.Equal(here, elsewhere) {
		t.Errorf("%d bytes here and %d elsewhere differ", len(here), len(elsewhere))
	}
	if dir, err := filepath.Abs(root); err != nil || bytes.Contains(here, []byte(dir+"/")) {
		t.Errorf("the binary knows the folder %s in which it was built (%v)", dir, err)
	}
}

// FROM scratch has no loader and no libraries.
func TestTheBinaryIsStatic(t *testing.T) {
	file, err := elf.NewFile(bytes.NewReader(build(t, root)))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("it has a segment %v", p.Type)
		}
	}
}

// build makes the sources in a folder as make image does.
func build(t *testing.T, dir string, env ...string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "claimgate")
	run(t, dir, append(env, "GOFLAGS=-buildvcs=false"), "nice", "make", "build", "VERSION=test", "BINARY="+out, "GOOS=linux")
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// copyOfSources is a folder with all that the binary is built of.
func copyOfSources(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name == ".git" || name == "bin" || name == "dist" || strings.HasSuffix(name, "testdata") {
				return fs.SkipDir
			}
			return os.MkdirAll(filepath.Join(dir, name), 0o750)
		}
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, name), b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
