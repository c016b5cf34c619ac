package oidc

import (
	"errors"
	"iter"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Why not encoding/json: it folds the case of member names, keeps the last of
// two equal members, replaces invalid UTF-8 and reads numbers as float64. Each
// of these has let forged tokens in somewhere (docs/attacks.md, A11 and A12).

// Limits of the JSON in a token; more is malformed.
const (
	maxJSONDepth   = 32 // the outer object is 1
	maxJSONMembers = 256
)

var (
	errJSONSyntax    = errors.New("not valid JSON")
	errJSONUTF8      = errors.New("JSON with invalid UTF-8 or a lone surrogate")
	errJSONDuplicate = errors.New("JSON with a duplicate member")
	errJSONDepth     = errors.New("JSON nested too deep")
	errJSONMembers   = errors.New("JSON object with too many members")
)

// Kind is the type of a JSON value.
type Kind uint8

// The JSON types.
const (
	KindNull Kind = iota
	KindBool
	KindNumber
	KindString
	KindArray
	KindObject
)

// Value is a JSON value that has been checked to be well formed. It is
// immutable and safe to share; the zero Value is null. Parts are decoded when
// they are asked for.
type Value struct{ raw string }

// parseJSON checks that s is exactly one JSON value, by RFC 8259 and stricter:
// valid UTF-8 without lone surrogates, no member twice in any object, names
// compared exactly, bounded depth and width.
func parseJSON(s string) (Value, error) {
	var room jsonRoom
	return room.parse(s)
}

// jsonRoom is what it takes to check a document, kept for the next one. The zero
// jsonRoom is ready.
type jsonRoom struct {
	names   []string // see jsonChecker
	members []member // of the outer object
}

// usualMembers are more than most tokens have.
const usualMembers = 32

func newJSONRoom() *jsonRoom {
	return &jsonRoom{make([]string, 0, usualMembers), make([]member, 0, usualMembers)}
}

// empty forgets what was parsed last, so that it is not kept, and reports whether
// room is small enough to be kept.
func (room *jsonRoom) empty() bool {
	clear(room.names[:cap(room.names)])
	clear(room.members[:cap(room.members)])
	return cap(room.names) <= 4*usualMembers && cap(room.members) <= 4*usualMembers
}

// parse is parseJSON. It leaves the members of an object in room.
func (room *jsonRoom) parse(s string) (Value, error) {
	p := jsonChecker{s: s, names: room.names[:0], members: room.members[:0]}
	p.space()
	start := p.pos
	err := p.value(1)
	room.names, room.members = p.names, p.members // they may have grown
	if err != nil {
		return Value{}, err
	}
	end := p.pos
	p.space()
	if p.pos != len(s) {
		return Value{}, errJSONSyntax
	}
	return Value{s[start:end]}, nil
}

// Kind returns the type of v.
func (v Value) Kind() Kind {
	if v.raw == "" {
		return KindNull
	}
	switch v.raw[0] {
	case '{':
		return KindObject
	case '[':
		return KindArray
	case '"':
		return KindString
	case 't', 'f':
		return KindBool
	case 'n':
		return KindNull
	default:
		return KindNumber
	}
}

// Raw returns the JSON text of v as it stood in the document; null for the zero
// Value.
func (v Value) Raw() string {
	if v.raw == "" {
		return "null"
	}
	return v.raw
}

// Text returns a string's decoded value, a number's or a boolean's exact text,
// and "" for everything else.
func (v Value) Text() string {
	switch v.Kind() {
	case KindString:
		return unquote(v.raw)
	case KindNumber, KindBool:
		return v.raw
	default:
		return ""
	}
}

// Bool reports whether v is true.
func (v Value) Bool() bool { return v.raw == "true" }

// Int64 returns a number that is written as an integer of 64 bits.
func (v Value) Int64() (int64, bool) {
	if v.Kind() != KindNumber {
		return 0, false
	}
	n, err := strconv.ParseInt(v.raw, 10, 64)
	return n, err == nil
}

// Float64 returns the nearest float64 of a number, unless that is infinite.
func (v Value) Float64() (float64, bool) {
	if v.Kind() != KindNumber {
		return 0, false
	}
	f, err := strconv.ParseFloat(v.raw, 64)
	return f, err == nil && !math.IsInf(f, 0)
}

// Strings returns the elements of an array that holds strings only.
func (v Value) Strings() ([]string, bool) {
	if v.Kind() != KindArray {
		return nil, false
	}
	var list []string
	for e := range v.Elements() {
		if e.Kind() != KindString {
			return nil, false
		}
		list = append(list, e.Text())
	}
	return list, true
}

// Elements yields the elements of an array, nothing for other values.
func (v Value) Elements() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		if v.Kind() != KindArray {
			return
		}
		w := jsonWalker{s: v.raw, pos: 1}
		for w.more(']') {
			if !yield(w.value()) {
				return
			}
		}
	}
}

// Members yields the members of an object in the document's order, nothing for
// other values.
func (v Value) Members() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		if v.Kind() != KindObject {
			return
		}
		w := jsonWalker{s: v.raw, pos: 1}
		for w.more('}') {
			name := w.value()
			w.more(':')
			if !yield(unquote(name.raw), w.value()) {
				return
			}
		}
	}
}

// Member returns the member of an object with exactly that name.
func (v Value) Member(name string) (Value, bool) {
	for n, m := range v.Members() {
		if n == name {
			return m, true
		}
	}
	return Value{}, false
}

// AppendCompact appends v's JSON text without insignificant white space.
// Members keep their order, numbers and strings their exact text.
func (v Value) AppendCompact(dst []byte) []byte {
	inString := false
	text := v.Raw()
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case inString:
			if c == '\\' {
				dst = append(dst, c)
				i++
				c = text[i]
			} else if c == '"' {
				inString = false
			}
		case c == '"':
			inString = true
		case isJSONSpace(c):
			continue
		}
		dst = append(dst, c)
	}
	return dst
}

func isJSONSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// jsonWalker steps through text that jsonChecker has accepted, so it can take
// every shortcut that well-formedness allows.
type jsonWalker struct {
	s   string
	pos int
}

// more skips white space and separators, and reports whether another value
// comes before the closing byte.
func (w *jsonWalker) more(closing byte) bool {
	for w.pos < len(w.s) {
		c := w.s[w.pos]
		if c == closing && closing != ':' {
			return false
		}
		if c != ',' && c != ':' && !isJSONSpace(c) {
			return true
		}
		w.pos++
	}
	return false
}

func (w *jsonWalker) value() Value {
	start := w.pos
	switch w.s[w.pos] {
	case '"':
		w.str()
	case '{', '[':
		depth := 0
		for {
			switch w.s[w.pos] {
			case '"':
				w.str()
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			w.pos++
			if depth == 0 {
				break
			}
		}
	default:
		for w.pos < len(w.s) {
			c := w.s[w.pos]
			if c == ',' || c == ']' || c == '}' || isJSONSpace(c) {
				break
			}
			w.pos++
		}
	}
	return Value{w.s[start:w.pos]}
}

func (w *jsonWalker) str() {
	w.pos++
	for w.s[w.pos] != '"' {
		if w.s[w.pos] == '\\' {
			w.pos++
		}
		w.pos++
	}
	w.pos++
}

// unquote decodes a JSON string that jsonChecker has accepted.
func unquote(raw string) string {
	body := raw[1 : len(raw)-1]
	if strings.IndexByte(body, '\\') < 0 {
		return body
	}
	out := make([]byte, 0, len(body))
	for i := 0; i < len(body); i++ {
		c := body[i]
		if c != '\\' {
			out = append(out, c)
			continue
		}
		i++
		switch body[i] {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r := rune(hex4(body[i+1:]))
			i += 4
			if utf16.IsSurrogate(r) { // checked: the other half follows
				r = utf16.DecodeRune(r, rune(hex4(body[i+3:])))
				i += 6
			}
			out = utf8.AppendRune(out, r)
		default: // '"', '\\', '/'
			out = append(out, body[i])
		}
	}
	return string(out)
}

// hex4 reads four hex digits at the start of s, -1 if there are none.
func hex4(s string) int {
	if len(s) < 4 {
		return -1
	}
	n := 0
	for i := range 4 {
		c := s[i]
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		n = n<<4 | int(c)
	}
	return n
}

// jsonChecker accepts or refuses; it builds nothing but the names of the
// objects that are open, and the members of the outer one.
type jsonChecker struct {
	s       string
	pos     int
	names   []string // decoded names of the members of all open objects, as a stack
	members []member
}

func (p *jsonChecker) space() {
	for p.pos < len(p.s) && isJSONSpace(p.s[p.pos]) {
		p.pos++
	}
}

func (p *jsonChecker) take(c byte) bool {
	if p.pos < len(p.s) && p.s[p.pos] == c {
		p.pos++
		return true
	}
	return false
}

func (p *jsonChecker) value(depth int) error {
	if p.pos >= len(p.s) {
		return errJSONSyntax
	}
	switch c := p.s[p.pos]; {
	case c == '{':
		return p.object(depth)
	case c == '[':
		return p.array(depth)
	case c == '"':
		return p.str()
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if strings.HasPrefix(p.s[p.pos:], word) {
			p.pos += len(word)
			return nil
		}
	}
	return errJSONSyntax
}

func (p *jsonChecker) object(depth int) error {
	if depth > maxJSONDepth {
		return errJSONDepth
	}
	mine := len(p.names)
	defer func() { p.names = p.names[:mine] }()
	p.pos++
	p.space()
	if p.take('}') {
		return nil
	}
	for {
		start := p.pos
		if p.pos >= len(p.s) || p.s[p.pos] != '"' {
			return errJSONSyntax
		}
		if err := p.str(); err != nil {
			return err
		}
		if len(p.names)-mine == maxJSONMembers {
			return errJSONMembers
		}
		name := unquote(p.s[start:p.pos])
		p.names = append(p.names, name)
		p.space()
		if !p.take(':') {
			return errJSONSyntax
		}
		p.space()
		start = p.pos
		if err := p.value(depth + 1); err != nil {
			return err
		}
		if depth == 1 {
			p.members = append(p.members, member{name, Value{p.s[start:p.pos]}})
		}
		p.space()
		if p.take('}') {
			break
		}
		if !p.take(',') {
			return errJSONSyntax
		}
		p.space()
	}
	if duplicated(p.names[mine:]) {
		return errJSONDuplicate
	}
	return nil
}

func duplicated(names []string) bool {
	if len(names) > 24 { // past this, hashing is cheaper than comparing pairs
		seen := make(map[string]struct{}, len(names))
		for _, n := range names {
			seen[n] = struct{}{}
		}
		return len(seen) != len(names)
	}
	for i, a := range names {
		for _, b := range names[:i] {
			if a == b {
				return true
			}
		}
	}
	return false
}

func (p *jsonChecker) array(depth int) error {
	if depth > maxJSONDepth {
		return errJSONDepth
	}
	p.pos++
	p.space()
	if p.take(']') {
		return nil
	}
	for {
		if err := p.value(depth + 1); err != nil {
			return err
		}
		p.space()
		if p.take(']') {
			return nil
		}
		if !p.take(',') {
			return errJSONSyntax
		}
		p.space()
	}
}

func (p *jsonChecker) str() error {
	p.pos++
	for p.pos < len(p.s) {
		c := p.s[p.pos]
		switch {
		case c == '"':
			p.pos++
			return nil
		case c == '\\':
			if err := p.escape(); err != nil {
				return err
			}
		case c < 0x20:
			return errJSONSyntax
		case c < utf8.RuneSelf:
			p.pos++
		default:
			r, n := utf8.DecodeRuneInString(p.s[p.pos:])
			if r == utf8.RuneError && n == 1 {
				return errJSONUTF8
			}
			p.pos += n
		}
	}
	return errJSONSyntax
}

func (p *jsonChecker) escape() error {
	rest := p.s[p.pos+1:]
	if rest == "" {
		return errJSONSyntax
	}
	if rest[0] != 'u' {
		if strings.IndexByte(`"\/bfnrt`, rest[0]) < 0 {
			return errJSONSyntax
		}
		p.pos += 2
		return nil
	}
	r := hex4(rest[1:])
	if r < 0 {
		return errJSONSyntax
	}
	p.pos += 6
	if !utf16.IsSurrogate(rune(r)) {
		return nil
	}
	next := p.s[p.pos:]
	if len(next) < 6 || next[0] != '\\' || next[1] != 'u' ||
		utf16.DecodeRune(rune(r), rune(hex4(next[2:]))) == utf8.RuneError {
		return errJSONUTF8
	}
	p.pos += 6
	return nil
}

func (p *jsonChecker) number() error {
	p.take('-')
	if !p.take('0') && !p.digits() {
		return errJSONSyntax
	}
	if p.take('.') && !p.digits() {
		return errJSONSyntax
	}
	if p.take('e') || p.take('E') {
		if !p.take('+') {
			p.take('-')
		}
		if !p.digits() {
			return errJSONSyntax
		}
	}
	return nil
}

func (p *jsonChecker) digits() bool {
	start := p.pos
	for p.pos < len(p.s) && p.s[p.pos] >= '0' && p.s[p.pos] <= '9' {
		p.pos++
	}
	return p.pos > start
}
