package release_test

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// One platform stands for the four: they differ in what the compiler is told.
func TestAReleaseHasArchiveChecksumsAndSBOM(t *testing.T) {
	dir := t.TempDir()
	run(t, root, nil, "nice", "make", "release", "VERSION=v1.2.3", "RELEASE="+dir, "PLATFORMS=linux/amd64")

	const name = "claimgate_v1.2.3_linux_amd64"
	files := readTar(t, name+".tar.gz", gunzip(t, read(t, filepath.Join(dir, name+".tar.gz"))))
	for file, mode := range map[string]int64{"claimgate": 0o755, "LICENSE": 0o644, "README.md": 0o644, "CHANGELOG.md": 0o644} {
		if f, ok := files[name+"/"+file]; !ok || f.mode&0o777 != mode {
			t.Errorf("the archive's %s: there %v, mode %o, want %o", file, ok, f.mode, mode)
		}
	}

	sums := string(read(t, filepath.Join(dir, "claimgate_v1.2.3_checksums.txt")))
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range left {
		if strings.HasSuffix(file, "checksums.txt") {
			continue
		}
		sum := sha256.Sum256(read(t, file))
		if line := hex.EncodeToString(sum[:]) + "  " + filepath.Base(file) + "\n"; !strings.Contains(sums, line) {
			t.Errorf("no line %q in the checksums\n%s", line, sums)
		}
	}
	if len(left) != 3 {
		t.Errorf("the release is %v", left)
	}

	var sbom struct {
		BOMFormat string
		Metadata  struct {
			Component struct{ Name, Version string }
		}
		Components []struct{ Name, Version, PURL string }
	}
	if err := json.Unmarshal(read(t, filepath.Join(dir, name+".cdx.json")), &sbom); err != nil {
		t.Fatal(err)
	}
	if c := sbom.Metadata.Component; sbom.BOMFormat != "CycloneDX" || c.Name != "github.com/claimgate/claimgate" || c.Version != "v1.2.3" {
		t.Errorf("the SBOM is of %q, version %q, in the form %q", c.Name, c.Version, sbom.BOMFormat)
	}
	var got []string
	for _, c := range sbom.Components {
		got = append(got, c.Name)
	}
	for _, want := range []string{"std", "github.com/go-jose/go-jose/v4", "google.golang.org/grpc"} {
		if !slices.Contains(got, want) {
			t.Errorf("the SBOM lacks %s: it has %v", want, got)
		}
	}
}

// file is one of an archive.
type file struct {
	mode int64
	data []byte
}

func readTar(t *testing.T, name string, r io.Reader) map[string]file {
	t.Helper()
	files := map[string]file{}
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			t.Fatalf("%s: %s: %v", name, h.Name, err)
		}
		files[strings.TrimPrefix(h.Name, "./")] = file{h.Mode, data}
	}
}

func gunzip(t *testing.T, b []byte) io.Reader {
	t.Helper()
	r, err := gzip.NewReader(strings.NewReader(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
