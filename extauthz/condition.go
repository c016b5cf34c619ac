package extauthz

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/interpreter"

	"github.com/claimgate/claimgate/oidc"
)

// conditionCost bounds the work of one evaluation, in CEL's cost units (a
// comparison costs one or two): some milliseconds at most.
const conditionCost = 100_000

// maxConditionProblem bounds the text of a compiler's complaint.
const maxConditionProblem = 160

// condition is a policy's when, compiled. It is immutable and safe for
// concurrent use. A nil condition is that of a policy without when.
type condition struct {
	text    string
	program cel.Program
	path    bool
	words   map[string]bool // names and strings that stand in the text
}

// compileCondition compiles and type-checks a CEL expression over request, token
// and context. Its errors begin with the line and column inside the expression.
func compileCondition(text string) (*condition, error) {
	env, err := newConditionEnv()
	if err != nil {
		return nil, fmt.Errorf("building the CEL environment: %w", err)
	}
	checked, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, conditionProblems(issues)
	}
	if t := checked.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("is a %s, but must be true or false", t)
	}
	c := &condition{text: text, words: map[string]bool{}}
	if err := c.inspect(checked.NativeRep()); err != nil {
		return nil, err
	}
	labelSharedErrors()
	c.program, err = env.Program(checked, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(conditionCost))
	if err != nil {
		return nil, errors.New(shortProblem(err.Error()))
	}
	return c, nil
}

// labelSharedErrors is for errors of cel-go that all programs share: an
// evaluation writes the id of a node into one that has none, a data race between
// evaluations. Written once, before there is any evaluation, it is none.
var labelSharedErrors = sync.OnceFunc(func() {
	types.LabelErrNode(-1, types.NoSuchOverloadErr())
	types.LabelErrNode(-1, types.Int(math.MaxInt64).ConvertToType(types.TimestampType))
})

// conditionProblems renders what the compiler found, at most three of them.
func conditionProblems(issues *cel.Issues) error {
	var texts []string
	for _, e := range issues.Errors() {
		texts = append(texts, fmt.Sprintf("%s: %s", position(e.Location), shortProblem(e.Message)))
		if len(texts) == 3 {
			break
		}
	}
	return errors.New(strings.Join(texts, "; "))
}

// position counts from 1, as editors do. A fault of the whole has none.
func position(at common.Location) string {
	return fmt.Sprintf("%d:%d", max(at.Line(), 1), max(at.Column()+1, 1))
}

// shortProblem keeps the first line of a message, without the parser's list of
// all that it would have liked better.
func shortProblem(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	s, _, _ = strings.Cut(s, " expecting ")
	if s = strings.TrimPrefix(s, "Syntax error: "); len(s) > maxConditionProblem {
		s = strings.ToValidUTF8(s[:maxConditionProblem], "") + "…"
	}
	return s
}

// inspect looks at the checked expression: what it reads, and what the type
// checker lets pass although it cannot be meant.
func (c *condition) inspect(checked *ast.AST) error {
	var problem error
	fail := func(e ast.Expr, format string, args ...any) {
		if problem == nil {
			at := position(checked.SourceInfo().GetStartLocation(e.ID()))
			problem = fmt.Errorf("%s: %s", at, fmt.Sprintf(format, args...))
		}
	}
	selected := map[int64]bool{} // the operands of selections
	visitor := ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.SelectKind:
			s := e.AsSelect()
			selected[s.Operand().ID()] = true
			c.words[s.FieldName()] = true
			if s.FieldName() == "path" && isObject(checked, s.Operand(), requestType) {
				c.path = true
			}
			if isHeaders(checked, s.Operand()) {
				checkHeaderName(fail, e, s.FieldName())
			}
		case ast.LiteralKind:
			if s, ok := e.AsLiteral().(types.String); ok {
				c.words[string(s)] = true
			}
		case ast.CallKind:
			if name, ok := headerLookUp(checked, e.AsCall()); ok {
				checkHeaderName(fail, e, name)
			}
		default:
		}
	})
	ast.PreOrderVisit(checked.Expr(), visitor)
	// Used as a whole, an object would take its fields along unseen: only a
	// selection tells what the expression reads.
	ast.PreOrderVisit(checked.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		for _, t := range []*types.Type{requestType, sourceType, tokenType} {
			if isObject(checked, e, t) && !selected[e.ID()] {
				fail(e, "%s has fields and is no value itself: write %s.NAME", objectNames[t], objectNames[t])
			}
		}
	}))
	return problem
}

func isObject(checked *ast.AST, e ast.Expr, want *types.Type) bool {
	t := checked.GetType(e.ID())
	return t != nil && t.IsExactType(want)
}

// isHeaders reports whether e is request.headers.
func isHeaders(checked *ast.AST, e ast.Expr) bool {
	return e.Kind() == ast.SelectKind && e.AsSelect().FieldName() == "headers" &&
		isObject(checked, e.AsSelect().Operand(), requestType)
}

// headerLookUp returns the literal name of request.headers["NAME"] and of
// "NAME" in request.headers.
func headerLookUp(checked *ast.AST, call ast.CallExpr) (string, bool) {
	args := call.Args()
	switch {
	case len(args) != 2:
		return "", false
	case call.FunctionName() == operators.In:
		args = []ast.Expr{args[1], args[0]}
	case call.FunctionName() != operators.Index:
		return "", false
	}
	if !isHeaders(checked, args[0]) || args[1].Kind() != ast.LiteralKind {
		return "", false
	}
	name, ok := args[1].AsLiteral().(types.String)
	return string(name), ok
}

// checkHeaderName refuses a name that request.headers can never have: a
// condition like !("X-Blocked" in request.headers) would be true for ever.
func checkHeaderName(fail func(ast.Expr, string, ...any), e ast.Expr, name string) {
	switch {
	case strings.HasPrefix(name, ":"):
		fail(e, "request.headers has no %s: use request.method, host, path or scheme", name)
	case strings.ToLower(name) != name:
		fail(e, "request.headers has names in lower case: write %q", strings.ToLower(name))
	}
}

// readsPath reports whether the outcome can depend on request.path.
func (c *condition) readsPath() bool { return c != nil && c.path }

// String returns the expression.
func (c *condition) String() string { return c.text }

// conditionInput is what an expression sees. It is an activation of its own, so
// that nothing is copied for what the expression does not read.
type conditionInput struct {
	request *Request
	path    string      // as policies match it
	token   *oidc.Token // nil for an anonymous request: every field is empty then
}

// ResolveName implements CEL's Activation.
func (in *conditionInput) ResolveName(name string) (any, bool) {
	switch name {
	case "request", "token":
		return in, true // the fields' getters know which of them
	case "context":
		return in.request.Context, true
	default:
		return nil, false
	}
}

// Parent implements CEL's Activation.
func (in *conditionInput) Parent() interpreter.Activation { return nil }

// eval evaluates the condition. The error says what is wrong, in the words of
// the expression and never with a value of the request or the token.
func (c *condition) eval(in conditionInput) (bool, error) {
	if in.token == nil {
		in.token = &oidc.Token{Expiry: time.Unix(0, 0)}
	}
	out, _, err := c.program.Eval(&in)
	if err != nil {
		return false, c.evalError(err)
	}
	result, ok := out.(types.Bool)
	if !ok {
		return false, errors.New("the result is neither true nor false")
	}
	return bool(result), nil
}

var (
	errConditionCost = fmt.Errorf("the evaluation costs more than %d units", conditionCost)
	errConditionEval = errors.New("the evaluation failed")
)

// evalProblems are the errors of CEL that have no values in them.
var evalProblems = []string{
	"no such overload", "division by zero", "modulus by zero", "index out of bounds",
	"integer overflow", "unsigned integer overflow", "duration overflow", "timestamp overflow", "number out of range",
}

// evalError renders an error of an evaluation. Its text can quote what the
// expression was applied to, so only what we know is kept.
func (c *condition) evalError(err error) error {
	if stopped := (interpreter.EvalCancelledError{}); errors.As(err, &stopped) {
		return errConditionCost
	}
	text := err.Error()
	if key, ok := strings.CutPrefix(text, "no such key"); ok {
		if key = strings.TrimPrefix(key, ": "); c.words[key] {
			return fmt.Errorf("there is no %q", key)
		}
		return errors.New("a key is missing")
	}
	for _, known := range evalProblems {
		if strings.HasPrefix(text, known) {
			return errors.New(known)
		}
	}
	return errConditionEval
}
