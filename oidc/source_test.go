package oidc_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sources parses the package's own files, without tests.
func sources(t *testing.T) (*token.FileSet, []*ast.File) {
	t.Helper()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	if len(files) < 10 {
		t.Fatalf("only %d files: this is not the package", len(files))
	}
	return set, files
}

// constantCalls are the calls that may make a package variable: what they
// return cannot be changed.
var constantCalls = []string{"errors.New", "netip.MustParsePrefix", "base64.RawURLEncoding.Strict", "regexp.MustCompile"}

// ambient is what a library reads or changes behind its caller's back.
var ambient = []string{
	"os.Getenv", "os.LookupEnv", "os.Environ", "os.ExpandEnv", "os.Setenv", "syscall.Getenv", "os.Args", "os.Exit", "os.Stdout", "os.Stderr",
	"http.ProxyFromEnvironment", "http.DefaultClient", "http.DefaultTransport", "http.Get", "net.DefaultResolver",
	"slog.Default", "slog.SetDefault", "slog.Info", "slog.Warn", "slog.Error", "signal.Notify", "rand.Seed",
}

// selector writes a.b.c, "" for anything else.
func selector(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		if left := selector(e.X); left != "" {
			return left + "." + e.Sel.Name
		}
	}
	return ""
}

// A Validator is all the state there is: two of them in one process, or a test
// beside another, share nothing.
func TestThereIsNoGlobalState(t *testing.T) {
	set, files := sources(t)
	variables := map[string]bool{}
	constant := func(e ast.Expr) bool {
		good := true
		ast.Inspect(e, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				good = good && slices.Contains(constantCalls, selector(n.Fun))
			case *ast.UnaryExpr:
				good = good && n.Op != token.AND
			case *ast.FuncLit:
				good = false
			}
			return good
		})
		return good
	}
	for _, file := range files {
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: an init function", set.Position(f.Pos()))
			}
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, spec := range g.Specs {
				v, ok := spec.(*ast.ValueSpec)
				if !ok {
					continue
				}
				for _, name := range v.Names {
					variables[name.Name] = name.Name != "_"
				}
				if len(v.Values) != len(v.Names) || slices.ContainsFunc(v.Values, func(e ast.Expr) bool { return !constant(e) }) {
					t.Errorf("%s: a package variable that is neither an error nor a table", set.Position(v.Pos()))
				}
			}
		}
	}
	if !variables["ErrBadToken"] || !variables["answers"] {
		t.Fatal("the search for package variables finds none")
	}
	for _, file := range files {
		written := func(e ast.Expr) {
			for {
				switch x := e.(type) {
				case *ast.IndexExpr:
					e = x.X
					continue
				case *ast.SelectorExpr:
					e = x.X
					continue
				case *ast.Ident:
					if variables[x.Name] {
						t.Errorf("%s: the package variable %s is changed", set.Position(x.Pos()), x.Name)
					}
				}
				return
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				for _, left := range n.Lhs {
					written(left)
				}
			case *ast.IncDecStmt:
				written(n.X)
			case *ast.UnaryExpr:
				if n.Op == token.AND {
					written(n.X)
				}
			}
			return true
		})
	}
}

func TestNothingIsReadFromTheEnvironment(t *testing.T) {
	set, files := sources(t)
	seen := 0
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				seen++
				if name := selector(n); slices.Contains(ambient, name) {
					t.Errorf("%s: %s", set.Position(n.Pos()), name)
				}
			case *ast.GoStmt:
				t.Errorf("%s: a go statement; a goroutine is started where somebody waits for it and a panic is caught", set.Position(n.Pos()))
			}
			return true
		})
	}
	if seen < 1000 {
		t.Fatalf("only %d selectors: the search finds nothing", seen)
	}
}

// Every exported name says what it is, beginning with its name; a group of
// constants has one comment for all, and one each where a word is not enough.
func TestEveryExportedNameIsDocumented(t *testing.T) {
	set, files := sources(t)
	missing := func(at token.Pos, name string) { t.Errorf("%s: %s has no comment", set.Position(at), name) }
	for _, file := range files {
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && exportedReceiver(d) && !strings.HasPrefix(d.Doc.Text(), d.Name.Name+" ") && !wellKnown(d.Name.Name) {
					missing(d.Pos(), d.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch spec := spec.(type) {
					case *ast.TypeSpec:
						if spec.Name.IsExported() && !strings.HasPrefix(d.Doc.Text()+spec.Doc.Text(), spec.Name.Name+" ") {
							missing(spec.Pos(), spec.Name.Name)
						}
						documentFields(spec, missing)
					case *ast.ValueSpec:
						for _, name := range spec.Names {
							if name.IsExported() && d.Doc == nil && spec.Doc == nil && spec.Comment == nil {
								missing(name.Pos(), name.Name)
							}
						}
					}
				}
			}
		}
	}
}

// wellKnown are methods that the standard library has said all about.
func wellKnown(name string) bool { return name == "Error" || name == "String" }

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	of := d.Recv.List[0].Type
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	name, ok := of.(*ast.Ident)
	return ok && name.IsExported()
}

// documentFields looks for exported fields without a comment, unless fields of
// the struct share one that stands before them.
func documentFields(spec *ast.TypeSpec, missing func(token.Pos, string)) {
	s, ok := spec.Type.(*ast.StructType)
	if !ok || !spec.Name.IsExported() {
		return
	}
	shared := false
	for _, f := range s.Fields.List {
		shared = shared || f.Doc != nil
		for _, name := range f.Names {
			if name.IsExported() && f.Doc == nil && f.Comment == nil && !shared {
				missing(name.Pos(), spec.Name.Name+"."+name.Name)
			}
		}
	}
}
