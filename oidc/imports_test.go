package oidc_test

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// The engine stands on the standard library and two modules. In particular it
// knows nothing of gRPC, Prometheus, YAML or the gate.
func TestImports(t *testing.T) {
	allowed := map[string]bool{
		"github.com/go-jose/go-jose/v4":                       true,
		"github.com/hashicorp/golang-lru/v2/simplelru":        true,
		"github.com/claimgate/claimgate/internal/regularfile": true, // of the standard library alone
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
			if path == "encoding/json" && file != "keyset.go" && file != "snapshot.go" { // which ask json.Valid and encode, and decode nothing
				t.Errorf("%s imports encoding/json, which must not read tokens", file)
			}
		}
	}
}
