package middleware_test

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// No framework, and gRPC in its own package only.
func TestImports(t *testing.T) {
	allowed := map[string][]string{
		".": {
			"github.com/claimgate/claimgate/internal/authheader", "github.com/claimgate/claimgate/oidc", "github.com/claimgate/claimgate/oidc/dpop",
		},
		"grpc": {
			"github.com/claimgate/claimgate/oidc", "github.com/claimgate/claimgate/oidc/middleware", "google.golang.org/grpc",
		},
	}
	for dir, modules := range allowed {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
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
				ok := !strings.Contains(strings.Split(path, "/")[0], ".")
				for _, m := range modules {
					ok = ok || path == m || m == "google.golang.org/grpc" && strings.HasPrefix(path, m+"/")
				}
				if !ok {
					t.Errorf("%s imports %s", file, path)
				}
			}
		}
	}
}
