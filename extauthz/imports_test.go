package extauthz

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The engine knows neither gRPC nor protobuf, nor where a configuration came
// from: another front can stand beside the one for gRPC. Each module has the
// files that may know it.
func TestImports(t *testing.T) {
	anywhere := []string{
		"github.com/claimgate/claimgate/oidc", "github.com/claimgate/claimgate/internal/authheader", "github.com/claimgate/claimgate/internal/regularfile",
	}
	allowed := map[string][]string{
		"cel.dev/cel-go":                         {"condition.go", "conditiontypes.go"},
		"go.yaml.in/yaml":                        {"yaml.go", "configpage.go"},
		"github.com/prometheus/client_golang":    {"metrics.go", "gate.go", "admin.go", "serve.go"},
		"go.opentelemetry.io/otel":               {"trace.go", "gate.go", "serve.go"},
		"github.com/envoyproxy/go-control-plane": {"decode.go", "response.go", "server.go", "serve.go", "wirerequest.go", "wirecodec.go"},
		"google.golang.org/grpc":                 {"server.go", "serve.go", "wirecodec.go", "trace.go"},
		"google.golang.org/protobuf":             {"response.go", "wirerequest.go", "wireroute.go", "wireanswer.go"},
		"google.golang.org/genproto":             {"response.go"},
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
			if !strings.Contains(strings.Split(path, "/")[0], ".") || slices.Contains(anywhere, path) {
				continue
			}
			ok := false
			for module, names := range allowed {
				ok = ok || strings.HasPrefix(path, module+"/") && slices.Contains(names, file) || path == module && slices.Contains(names, file)
			}
			// The types of CEL are built of protobuf's.
			ok = ok || strings.HasPrefix(file, "condition") && strings.HasPrefix(path, "google.golang.org/protobuf/")
			if !ok {
				t.Errorf("%s imports %s", file, path)
			}
		}
	}
}
