package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// docs/dependencies.md names what go.mod names, with the same versions.
func TestDependenciesAreDocumented(t *testing.T) {
	var want []string
	for line := range strings.Lines(read(t, "../../go.mod")) {
		fields := strings.Fields(strings.TrimPrefix(line, "require "))
		if len(fields) >= 2 && strings.HasPrefix(fields[1], "v") && !strings.Contains(line, "// indirect") {
			want = append(want, fields[0]+" "+dated(fields[1]))
		}
	}
	var got []string
	for _, row := range regexp.MustCompile(`(?m)^\| ([a-z.]+/[^ ]+|[a-z.]+\.[a-z]+/[^ ]+) \| ([^ ]+) \|`).FindAllStringSubmatch(read(t, "../../docs/dependencies.md"), -1) {
		got = append(got, row[1]+" "+row[2])
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("docs/dependencies.md has\n%s\ngo.mod has\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// docs/interop.md says what each test of package interop proves: a column is a test,
// a row one of its parts.
func TestInteropTestsAreDocumented(t *testing.T) {
	files, err := filepath.Glob("internal/interop/*_test.go")
	if err != nil || len(files) == 0 {
		t.Fatal("no tests:", err)
	}
	want := map[string][]string{}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(f.Name.Name, "Test") || f.Name.Name == "TestMain" {
				continue
			}
			want[f.Name.Name] = nil
			ast.Inspect(f.Body, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok && len(call.Args) == 2 {
					if fun, ok := call.Fun.(*ast.SelectorExpr); ok && fun.Sel.Name == "Run" {
						name, err := strconv.Unquote(call.Args[0].(*ast.BasicLit).Value)
						if err != nil {
							t.Fatal(err)
						}
						want[f.Name.Name] = append(want[f.Name.Name], name)
					}
				}
				return true
			})
		}
	}

	got := map[string][]string{}
	var columns []string
	for line := range strings.Lines(read(t, "../../docs/interop.md")) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		switch {
		case strings.HasPrefix(line, "| | `Test"):
			columns = strings.Fields(strings.NewReplacer("|", " ", "`", "").Replace(line))
			for _, name := range columns {
				got[name] = append(got[name], []string{}...) // it may have a column in two tables
			}
		case !strings.HasPrefix(line, "| ") || len(cells) != len(columns)+1:
		default:
			for i, name := range columns {
				if strings.TrimSpace(cells[i+1]) == "✓" {
					got[name] = append(got[name], strings.TrimSpace(cells[0]))
				}
			}
		}
	}
	for name := range want {
		slices.Sort(want[name])
		slices.Sort(got[name])
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("docs/interop.md has\n%v\nthe tests are\n%v", got, want)
	}
}

// docs/interop.md and docs/dependencies.md name the versions that are pinned.
func TestInteropVersionsAreDocumented(t *testing.T) {
	for file, pattern := range map[string]string{
		"get-part.sh":                         `(?m)^keycloak=(.*)$`,
		"oidc-provider/package.json":          `"oidc-provider": "(.*?)"`,
		"spring-authorization-server/pom.xml": `<version>(.*?)</version>`,
		"zitadel-op/go.mod":                   `github.com/zitadel/oidc/v3 v(\S+)`,
		"kube-apiserver/go.mod":               `k8s.io/kubernetes v(\S+)`,
	} {
		pinned := regexp.MustCompile(pattern).FindStringSubmatch(read(t, "internal/interop/"+file))
		if pinned == nil {
			t.Fatalf("%s names no version", file)
		}
		for _, page := range []string{"interop.md", "dependencies.md"} {
			if !regexp.MustCompile(`\| [^|]*` + regexp.QuoteMeta(pinned[1]) + ` \|`).MatchString(read(t, "../../docs/"+page)) {
				t.Errorf("docs/%s does not have version %s of %s", page, pinned[1], file)
			}
		}
	}
}

// dated writes a pseudo-version as its day.
func dated(v string) string {
	if day := regexp.MustCompile(`^v0\.0\.0-(\d{4})(\d\d)(\d\d)\d{6}-`).FindStringSubmatch(v); day != nil {
		return day[1] + "-" + day[2] + "-" + day[3]
	}
	return v
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// docs/operations.md names each code of a finding, and no other.
func TestFindingsAreDocumented(t *testing.T) {
	_, section, _ := strings.Cut(read(t, "../../docs/operations.md"), "\n| code | what it means |")
	section, _, _ = strings.Cut(section, "\n## ")
	var got []string
	for _, row := range strings.Split(section, "\n")[1:] {
		if cells := strings.Split(row, "|"); len(cells) > 1 {
			for _, code := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(cells[1], -1) {
				got = append(got, code[1])
			}
		}
	}
	var want []string
	for _, code := range regexp.MustCompile(`(?m)^\t[A-Z]\w+ += "([a-z_]+)"$`).FindAllStringSubmatch(read(t, "internal/doctor/findings.go"), -1) {
		want = append(want, code[1])
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("docs/operations.md has\n%s\nthe program has\n%s", got, want)
	}
}
