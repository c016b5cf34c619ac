package dpop_test

import (
	"go/parser"
	gotoken "go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Proofs stand on the engine and on what that stands on.
func TestImports(t *testing.T) {
	allowed := map[string]bool{
		"github.com/go-jose/go-jose/v4":                        true,
		"github.com/claimgate/claimgate/oidc/internal/signing": true,
		"github.com/claimgate/claimgate/oidc":                  true,
	}
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(gotoken.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range parsed.Imports {
			path, _ := strconv.Unquote(i.Path.Value)
			if strings.Contains(strings.Split(path, "/")[0], ".") && !allowed[path] {
				t.Errorf("%s imports %s", file, path)
			}
		}
	}
}
