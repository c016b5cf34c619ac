package client_test

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// The client stands on the standard library, go-jose and the engine. In particular
// it knows nothing of gRPC, Prometheus, YAML, golang.org/x/oauth2 or the gate.
func TestImports(t *testing.T) {
	allowed := map[string]bool{
		"github.com/go-jose/go-jose/v4":                        true,
		"github.com/claimgate/claimgate/oidc/internal/signing": true,
		"github.com/claimgate/claimgate/oidc":                  true,
		"github.com/claimgate/claimgate/oidc/dpop":             true,
		"github.com/claimgate/claimgate/internal/regularfile":  true,
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range parsed.Imports {
			path, _ := strconv.Unquote(i.Path.Value)
			if strings.Contains(strings.Split(path, "/")[0], ".") && !allowed[path] {
				t.Errorf("%s imports %s", file, path)
			}
			if path == "os" {
				t.Errorf("%s imports os: files are read by internal/regularfile, the environment by nobody", file)
			}
		}
	}
}
