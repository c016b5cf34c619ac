package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/format"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/tools/go/ast/astutil"
)

// fate is what became of a mutant.
type fate string

const (
	killed    fate = "killed"
	endless   fate = "endless"
	survived  fate = "survived"
	unreached fate = "not reached by any test"
)

// mutant is one change. Its name says where and what, and stays the same when
// lines move: file, function, the code and what it becomes; a number is added to
// the second of two that would be alike.
type mutant struct {
	number int
	name   string
	fate   fate
}

// support is what the mutated package gets: whether a mutant is alive, and the
// record of those that were reached.
const support = `
import (
	"os"
	"strconv"
	"syscall"
)

var mutantAlive = func() int {
	n, err := strconv.Atoi(os.Getenv("` + mutantVariable + `"))
	if err != nil {
		return -1
	}
	return n
}()

var mutantsReached = func() []byte {
	f, err := os.OpenFile(os.Getenv("` + reachedVariable + `"), os.O_RDWR, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		panic(err)
	}
	b, err := syscall.Mmap(int(f.Fd()), 0, int(info.Size()), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	return b
}()

func mutated(n int) bool {
	if mutantsReached != nil {
		mutantsReached[n] = 1
	}
	return n == mutantAlive
}

func mutantOr[T any](n int, mutant, original T) T {
	if mutated(n) {
		return mutant
	}
	return original
}
`

// maker makes the mutants of a package.
type maker struct {
	set     *token.FileSet
	info    *types.Info
	pkg     *types.Package
	source  []byte // of the file at hand
	file    string
	fn      string
	text    map[ast.Node]string // of the file's nodes before anything is changed
	seen    map[string]int
	mutants []*mutant
}

// mutate returns the files with all mutants in them, and the mutants.
func mutate(dir string, files []string) (map[string][]byte, []*mutant, error) {
	m := &maker{set: token.NewFileSet(), seen: map[string]int{}}
	parsed, err := m.load(dir)
	if err != nil {
		return nil, nil, err
	}
	sources := map[string][]byte{}
	for _, named := range files {
		name, only, some := strings.Cut(named, ":")
		missing := strings.Split(only, ",")
		file := parsed[filepath.Base(name)]
		if file == nil {
			return nil, nil, fmt.Errorf("%s is not in %s", name, dir)
		}
		if m.source, err = os.ReadFile(name); err != nil { //nolint:gosec // a file that was named
			return nil, nil, err
		}
		m.file = filepath.Base(name)
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			m.fn = functionName(f)
			at := slices.Index(missing, m.fn)
			if some && at < 0 {
				continue
			}
			if some {
				missing = slices.Delete(missing, at, at+1)
			}
			m.function(f)
		}
		if some && len(missing) > 0 {
			return nil, nil, fmt.Errorf("%s has no function %s", name, strings.Join(missing, ", "))
		}
		var out bytes.Buffer
		if err := format.Node(&out, m.set, file); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
		sources[name] = out.Bytes()
	}
	sources[filepath.Join(dir, "mutants_support.go")] = []byte("package " + m.pkg.Name() + "\n" + support)
	return sources, m.mutants, nil
}

// load parses and type-checks a package, without its tests.
func (m *maker) load(dir string) (map[string]*ast.File, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	parsed := map[string]*ast.File{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		// Without comments, which would end up in odd places.
		file, err := parser.ParseFile(m.set, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		parsed[filepath.Base(name)] = file
	}
	out, err := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", "./"+filepath.ToSlash(dir)).Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	exports := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if path, file, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			exports[path] = file
		}
	}
	lookup := func(path string) (io.ReadCloser, error) {
		if exports[path] == "" {
			return nil, errors.New("no export data of " + path)
		}
		return os.Open(exports[path])
	}
	m.info = &types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	config := types.Config{Importer: importer.ForCompiler(m.set, "gc", lookup)}
	m.pkg, err = config.Check(dir, m.set, slices.Collect(maps.Values(parsed)), m.info)
	return parsed, err
}

// functionName is the name of a function, or TYPE.NAME of a method.
func functionName(f *ast.FuncDecl) string {
	if f.Recv != nil {
		of := f.Recv.List[0].Type
		if star, ok := of.(*ast.StarExpr); ok {
			of = star.X
		}
		if name, ok := of.(*ast.Ident); ok {
			return name.Name + "." + f.Name.Name
		}
	}
	return f.Name.Name
}

func (m *maker) function(f *ast.FuncDecl) {
	m.text = map[ast.Node]string{}
	forced := map[ast.Node]bool{} // conditions, to be made true and false
	loops := map[ast.Node]bool{}  // of these, conditions of loops
	ast.Inspect(f.Body, func(n ast.Node) bool {
		if n == nil {
			return false
		}
		m.text[n] = string(m.source[m.set.Position(n.Pos()).Offset:m.set.Position(n.End()).Offset])
		switch n := n.(type) {
		case *ast.IfStmt:
			forced[n.Cond] = true
		case *ast.ForStmt:
			forced[n.Cond], loops[n.Cond] = true, true
		case *ast.SwitchStmt:
			for _, c := range n.Body.List {
				if c, ok := c.(*ast.CaseClause); ok && n.Tag == nil {
					for _, e := range c.List {
						forced[e] = true
					}
				}
			}
		case *ast.BinaryExpr:
			if n.Op == token.LAND || n.Op == token.LOR {
				forced[n.X], forced[n.Y] = true, true
			}
			if comparison(n.Op) {
				forced[n] = true
			}
		}
		return true
	})
	astutil.Apply(f.Body, m.enter, func(c *astutil.Cursor) bool {
		switch n := c.Node().(type) {
		case ast.Expr:
			if e := m.expression(n, forced[n], loops[n]); e != n {
				c.Replace(e)
			}
		case ast.Stmt:
			if c.Index() >= 0 && m.omissible(n) {
				k := m.add(n, "nothing")
				c.Replace(&ast.IfStmt{Cond: not(alive(k)), Body: &ast.BlockStmt{List: []ast.Stmt{n}}})
			}
		}
		return true
	})
}

// saysWhy are calls whose arguments are words for people: their text is not
// what the tests are about.
var saysWhy = []string{"errors.New", "fmt.Errorf", "fmt.Sprintf", "ex.ok", "ex.fail", "explain", "invalidClaim", "refuse", "panic", "line", "slog.String", "slog.Int", "k.store.logger.Error"}

// enter says what is not looked into.
func (m *maker) enter(c *astutil.Cursor) bool {
	switch n := c.Node().(type) {
	case *ast.CallExpr:
		return !slices.Contains(saysWhy, m.text[n.Fun])
	case *ast.CompositeLit:
		kind := m.text[n.Type]
		return kind != "Error" && !strings.HasPrefix(kind, "[...]") // errors, and tables with constants as keys
	case *ast.ArrayType, *ast.GenDecl, *ast.LabeledStmt:
		return false
	case ast.Expr:
		if tv := m.info.Types[n]; tv.Value != nil && c.Name() != "Key" {
			return m.constantRoot(c, tv)
		}
	}
	return true
}

// constantRoot mutates a constant expression as a whole, and has nothing in it
// looked at.
func (m *maker) constantRoot(c *astutil.Cursor, tv types.TypeAndValue) bool {
	e, ok := c.Node().(ast.Expr)
	if !ok {
		return false
	}
	basic, ok := tv.Type.Underlying().(*types.Basic)
	if !ok || basic.Info()&types.IsUntyped != 0 {
		return false
	}
	var other ast.Expr
	switch tv.Value.Kind() {
	case constant.Bool:
		other = &ast.Ident{Name: strconv.FormatBool(!constant.BoolVal(tv.Value))}
	case constant.Int:
		other = &ast.BinaryExpr{X: &ast.ParenExpr{X: e}, Op: token.ADD, Y: &ast.BasicLit{Kind: token.INT, Value: "1"}}
	case constant.String:
		other = &ast.BinaryExpr{X: e, Op: token.ADD, Y: &ast.BasicLit{Kind: token.STRING, Value: `"?"`}}
	default:
		return false
	}
	what := "another"
	if tv.Value.Kind() == constant.Int {
		what = "one more"
	}
	k := m.add(e, what)
	kind := types.TypeString(tv.Type, func(p *types.Package) string {
		if p == m.pkg {
			return ""
		}
		return p.Name()
	})
	c.Replace(&ast.CallExpr{
		Fun:  &ast.IndexExpr{X: ast.NewIdent("mutantOr"), Index: ast.NewIdent(kind)},
		Args: []ast.Expr{number(k), other, e},
	})
	return false
}

// expression returns an expression with its mutants in it.
func (m *maker) expression(e ast.Expr, forced, loop bool) ast.Expr {
	result := e
	if b, ok := e.(*ast.BinaryExpr); ok {
		result = m.binary(b)
	}
	if forced && m.info.Types[e].Value == nil {
		if !loop {
			k := m.add(e, "true")
			result = &ast.ParenExpr{X: &ast.BinaryExpr{X: alive(k), Op: token.LOR, Y: &ast.ParenExpr{X: result}}}
		}
		k := m.add(e, "false")
		result = &ast.ParenExpr{X: &ast.BinaryExpr{X: not(alive(k)), Op: token.LAND, Y: &ast.ParenExpr{X: result}}}
	}
	return result
}

func comparison(op token.Token) bool {
	return slices.Contains([]token.Token{token.EQL, token.NEQ, token.LSS, token.LEQ, token.GTR, token.GEQ}, op)
}

// swaps are the operators that take each other's place.
var swaps = map[token.Token]token.Token{
	token.LAND: token.LOR, token.LOR: token.LAND,
	token.LSS: token.LEQ, token.LEQ: token.LSS, token.GTR: token.GEQ, token.GEQ: token.GTR,
	token.ADD: token.SUB, token.SUB: token.ADD, token.MUL: token.ADD, token.QUO: token.MUL, token.REM: token.MUL,
	token.SHL: token.SHR, token.SHR: token.SHL, token.AND: token.OR, token.OR: token.AND, token.AND_NOT: token.AND, token.XOR: token.AND,
}

func (m *maker) binary(b *ast.BinaryExpr) ast.Expr {
	swap, ok := swaps[b.Op]
	tv := m.info.Types[b]
	basic, isBasic := tv.Type.Underlying().(*types.Basic)
	if !ok || tv.Value != nil || !isBasic || basic.Info()&types.IsString != 0 {
		return b
	}
	other := &ast.BinaryExpr{X: b.X, Op: swap, Y: b.Y}
	k := m.add(b, swap.String())
	if basic.Info()&types.IsBoolean != 0 {
		return &ast.ParenExpr{X: &ast.BinaryExpr{
			X:  &ast.ParenExpr{X: &ast.BinaryExpr{X: alive(k), Op: token.LAND, Y: &ast.ParenExpr{X: other}}},
			Op: token.LOR,
			Y:  &ast.ParenExpr{X: &ast.BinaryExpr{X: not(alive(k)), Op: token.LAND, Y: &ast.ParenExpr{X: b}}},
		}}
	}
	return &ast.CallExpr{Fun: ast.NewIdent("mutantOr"), Args: []ast.Expr{number(k), other, b}}
}

// omissible reports whether the program compiles without a statement.
func (m *maker) omissible(s ast.Stmt) bool {
	switch s := s.(type) {
	case *ast.AssignStmt:
		return s.Tok != token.DEFINE
	case *ast.IncDecStmt, *ast.DeferStmt, *ast.SendStmt:
		return true
	case *ast.BranchStmt:
		return s.Tok == token.CONTINUE || s.Tok == token.BREAK
	case *ast.ExprStmt:
		call, ok := s.X.(*ast.CallExpr)
		return ok && !slices.Contains(saysWhy, m.text[call.Fun])
	}
	return false
}

// add makes a mutant of what stands at n.
func (m *maker) add(n ast.Node, becomes string) int {
	text := strings.Join(strings.Fields(m.text[n]), " ")
	if len(text) > 100 {
		text = text[:97] + "..."
	}
	name := fmt.Sprintf("%s %s: %s => %s", m.file, m.fn, text, becomes)
	m.seen[name]++
	if again := m.seen[name]; again > 1 {
		name += fmt.Sprintf(" (%d)", again)
	}
	m.mutants = append(m.mutants, &mutant{number: len(m.mutants), name: name})
	return len(m.mutants) - 1
}

func number(k int) ast.Expr { return &ast.BasicLit{Kind: token.INT, Value: strconv.Itoa(k)} }

func alive(k int) ast.Expr {
	return &ast.CallExpr{Fun: ast.NewIdent("mutated"), Args: []ast.Expr{number(k)}}
}

func not(e ast.Expr) ast.Expr { return &ast.UnaryExpr{Op: token.NOT, X: e} }
