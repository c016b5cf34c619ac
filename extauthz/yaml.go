package extauthz

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"github.com/claimgate/claimgate/oidc"
)

// maxConfigNodes bounds what aliases can make of a small file. A file of the
// largest size without aliases stays below it.
const maxConfigNodes = 1 << 20

// decodeYAML reads the one YAML document in data into cfg and remembers where
// each value stands. It is strict, and goes on after a problem so that all of
// them are found. It returns false if nothing was read, so that looking for
// more would only be noise.
func decodeYAML(data []byte, cfg *Config, f *faults) bool {
	if !checkText(data, f) {
		return false
	}
	root, ok := parseYAML(data, f)
	if !ok {
		return false
	}
	d := &yamlDecoder{faults: f, budget: maxConfigNodes}
	d.place("", root, filePosition{})
	if root.Kind != yaml.MappingNode {
		d.addAt(where(root), "", "the file must be a mapping with fields such as issuers and policies, not %s", kindOf(root))
		return false
	}
	d.decode(root, "", reflect.ValueOf(cfg).Elem())
	return d.budget >= 0
}

// checkText finds what no YAML parser reads, with its position.
func checkText(data []byte, f *faults) bool {
	at := filePosition{1, 1}
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			f.addAt(at, "", "the file is not UTF-8: the byte 0x%02x: save it as UTF-8", data[i])
			return false
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0x7F:
			f.addAt(at, "", "the file has the control character 0x%02x: leave it out, or write it as \"\\x%02x\"", r, r)
			return false
		case r == '\n':
			at = filePosition{at.line + 1, 1}
		default:
			at.column++
		}
		i += size
	}
	return true
}

// parseYAML returns the root of the only document in data.
func parseYAML(data []byte, f *faults) (*yaml.Node, bool) {
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		f.add("", "not valid YAML: %v", err)
		return nil, false
	}
	var document, second yaml.Node
	err = loader.Load(&document)
	if err == nil {
		err = loader.Load(&second)
	}
	switch {
	case errors.Is(err, io.EOF) && len(document.Content) == 1 && document.Content[0].ShortTag() != "!!null":
		return document.Content[0], true
	case errors.Is(err, io.EOF):
		f.add("", "the file is empty: write issuers and policies")
	case err != nil:
		addSyntaxError(err, data, f)
	default:
		f.addAt(where(&second), "", "a second YAML document begins here: write one file for one gate")
	}
	return nil, false
}

func addSyntaxError(err error, data []byte, f *faults) {
	var syntax *yaml.LoadError
	if !errors.As(err, &syntax) {
		f.add("", "not valid YAML: %v", err)
		return
	}
	at := filePosition{syntax.Mark.Line, syntax.Mark.Column}
	text := syntax.Message
	if context := syntax.ContextMark; context.Line > 0 && syntax.ContextMsg != "" && context.Line != at.line {
		text += fmt.Sprintf(", %s that begins in line %d", syntax.ContextMsg, context.Line)
	}
	if at.line == 0 {
		at = filePosition{1, 1}
	}
	if hint := syntaxHint(syntax, data, at); hint != "" {
		text += ": " + hint
	}
	f.addAt(at, "", "not valid YAML: %s", text)
}

// syntaxHint knows the mistakes that values of this file invite: @subject,
// *.example.com and the like have a meaning in YAML.
func syntaxHint(e *yaml.LoadError, data []byte, at filePosition) string {
	lines := bytes.Split(data, []byte("\n"))
	var rest []rune
	if at.line <= len(lines) && (bytes.Contains(lines[at.line-1], []byte("${")) || bytes.Contains(lines[at.line-1], []byte("{{"))) {
		return "nothing is expanded in this file: fill in templates and variables before"
	}
	if at.line <= len(lines) {
		rest = []rune(string(lines[at.line-1]))
		rest = rest[min(at.column-1, len(rest)):]
	}
	switch {
	case strings.Contains(e.Message, "cannot start any token") && len(rest) > 0 && rest[0] == '\t':
		return "indent with spaces, not with tabs"
	case strings.Contains(e.Message, "cannot start any token") && len(rest) > 0:
		return fmt.Sprintf("put a value that begins with %c in quotes", rest[0])
	case strings.Contains(e.ContextMsg, "alias"), strings.Contains(e.Message, "unknown anchor"):
		return "put a value that begins with * in quotes"
	case strings.Contains(e.Message, "mapping values are not allowed"):
		return `look at the indentation; a value that has ": " in it must be in quotes`
	}
	return ""
}

// yamlDecoder fills Go values from YAML nodes.
type yamlDecoder struct {
	*faults
	budget int // values that may still be read
}

func where(n *yaml.Node) filePosition { return filePosition{n.Line, n.Column} }

// place remembers where the value at p stands. A block list or mapping begins
// below its key; the key's line is where people look, so that is its place.
func (d *yamlDecoder) place(p fieldPath, n *yaml.Node, key filePosition) {
	at := where(n)
	if key.line != 0 && at.line != key.line {
		at = key
	}
	d.at[p] = at
}

// kindOf says what a node is, for messages.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!null":
		return "empty"
	case "!!bool":
		return "true or false"
	case "!!int", "!!float":
		return "a number"
	default:
		return "text"
	}
}

// resolve follows an alias, and counts.
func (d *yamlDecoder) resolve(n *yaml.Node, p fieldPath) (*yaml.Node, bool) {
	if d.budget < 0 {
		return nil, false
	}
	if d.budget--; d.budget < 0 {
		d.addAt(where(n), p, "aliases make more than %d values of this file", maxConfigNodes)
		return nil, false
	}
	at := where(n)
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch tag := n.ShortTag(); tag {
	case "!!map", "!!seq", "!!str", "!!int", "!!float", "!!bool", "!!timestamp":
		return n, true
	case "!!null":
		d.addAt(d.at[p], p, "has no value: give it one, or leave the field out")
	case "!!merge":
		d.addAt(at, p, "must be in quotes, if << is meant as text")
	default:
		d.addAt(at, p, "has the tag %s, which means nothing here: leave it out", tag)
	}
	return nil, false
}

// decode reads n into v. The place of p is known already.
func (d *yamlDecoder) decode(n *yaml.Node, p fieldPath, v reflect.Value) {
	n, ok := d.resolve(n, p)
	if !ok {
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	if text, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.decodeText(n, p, text)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.decodeStruct(n, p, v)
	case reflect.Map:
		d.decodeMap(n, p, v)
	case reflect.Slice:
		d.decodeList(n, p, v)
	case reflect.String:
		if isText(n) {
			v.SetString(n.Value)
			return
		}
		d.wrongType(n, p, "text")
	case reflect.Bool:
		if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!bool" {
			v.SetBool(strings.EqualFold(n.Value, "true"))
			return
		}
		d.wrongType(n, p, "true or false")
	case reflect.Int:
		i, err := strconv.Atoi(n.Value)
		if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!int" && err == nil && isDecimal(strings.TrimPrefix(n.Value, "-")) {
			v.SetInt(int64(i))
			return
		}
		d.wrongType(n, p, "a whole number in plain digits")
	case reflect.Interface:
		d.decodeLiteral(n, p, v)
	default:
		panic("extauthz: no decoder for " + v.Type().String()) // a fault in the Config types
	}
}

// isText reports whether n is a text. Dates are text: the time stamps of YAML
// 1.1 are none in its core schema, nor in JSON.
func isText(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && (n.ShortTag() == "!!str" || n.ShortTag() == "!!timestamp")
}

func (d *yamlDecoder) wrongType(n *yaml.Node, p fieldPath, want string) {
	text := "must be " + want + ", not " + kindOf(n)
	switch {
	case n.Kind != yaml.ScalarNode:
	case want == "text":
		text += ": put it in quotes"
	case want == "a list" && isText(n):
		text += ": write [" + quote(n.Value) + "]"
	case want == "true or false" && slices.Contains([]string{"yes", "on", "y", "true"}, strings.ToLower(n.Value)):
		text += ": write true"
	case want == "true or false" && slices.Contains([]string{"no", "off", "n", "false"}, strings.ToLower(n.Value)):
		text += ": write false"
	case strings.HasPrefix(want, "a whole number") && kindOf(n) == "a number":
		text = "must be " + want + ", not " + n.Value
	}
	d.add(p, "%s", text)
}

// decodeText reads a value that has a syntax of its own.
func (d *yamlDecoder) decodeText(n *yaml.Node, p fieldPath, v encoding.TextUnmarshaler) {
	var err error
	number, takesNumbers := v.(interface{ unmarshalNumber(text string) error })
	switch {
	case isText(n):
		err = v.UnmarshalText([]byte(n.Value))
	case takesNumbers && kindOf(n) == "a number":
		err = number.unmarshalNumber(n.Value)
	default:
		d.wrongType(n, p, "text")
	}
	if err != nil {
		d.add(p, "%v", err)
	}
}

// decodeLiteral reads a value that a claim is compared with.
func (d *yamlDecoder) decodeLiteral(n *yaml.Node, p fieldPath, v reflect.Value) {
	switch {
	case isText(n):
		v.Set(reflect.ValueOf(n.Value))
	case kindOf(n) == "true or false":
		v.Set(reflect.ValueOf(strings.EqualFold(n.Value, "true")))
	case kindOf(n) == "a number":
		if _, err := oidc.NumberScalar(n.Value); err != nil {
			d.add(p, "%v as JSON writes it: change it, or put it in quotes if it is text", err)
			return
		}
		v.Set(reflect.ValueOf(json.Number(n.Value)))
	default:
		d.wrongType(n, p, "text, a number, or true or false")
	}
}

func (d *yamlDecoder) decodeList(n *yaml.Node, p fieldPath, v reflect.Value) {
	if first := firstText(v.Type().Elem()); first != "" && isText(n) {
		d.add(p, "must be a list, not text: write [{%s: %s}]", first, quote(n.Value))
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.wrongType(n, p, "a list")
		return
	}
	list := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		d.place(p.index(i), item, filePosition{})
		d.decode(item, p.index(i), list.Index(i))
	}
	v.Set(list)
}

func (d *yamlDecoder) decodeMap(n *yaml.Node, p fieldPath, v reflect.Value) {
	v.Set(reflect.MakeMap(v.Type()))
	d.eachMember(n, p, func(m member) {
		value := reflect.New(v.Type().Elem()).Elem()
		d.decode(m.value, m.path, value)
		v.SetMapIndex(reflect.ValueOf(m.name), value)
	})
}

func (d *yamlDecoder) decodeStruct(n *yaml.Node, p fieldPath, v reflect.Value) {
	if first := firstText(v.Type()); first != "" && isText(n) {
		d.add(p, "must be a mapping, not text: write %s: %s", first, quote(n.Value))
		return
	}
	fields := fieldsOf(v.Type())
	d.eachMember(n, p, func(m member) {
		i := slices.IndexFunc(fields, func(f configField) bool { return f.name == m.name })
		if i < 0 {
			d.unknownField(p, m, fields)
			return
		}
		d.decode(m.value, m.path, v.Field(fields[i].index))
	})
}

// eachMember calls yield with each member of a mapping that has a proper name.
func (d *yamlDecoder) eachMember(n *yaml.Node, p fieldPath, yield func(m member)) {
	if n.Kind != yaml.MappingNode {
		d.wrongType(n, p, "a mapping")
		return
	}
	first := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := where(key)
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		child := p.key(key.Value)
		switch {
		case key.Kind != yaml.ScalarNode:
			d.addAt(at, p, "a key must be text, not %s", kindOf(key))
			continue
		case key.ShortTag() == "!!merge":
			d.addAt(at, p, "merge keys (<<) are not supported: write the fields out, or use an alias for a whole value")
			continue
		case !isText(key):
			d.addAt(at, child, "a key must be text, not %s: put it in quotes", kindOf(key))
			continue
		}
		if line, ok := first[key.Value]; ok {
			d.addAt(at, child, "is given twice, first in line %d", line)
			continue
		}
		first[key.Value] = at.line
		d.place(child, value, at)
		yield(member{key.Value, child, at, value})
	}
}

// member is one key of a mapping with its value.
type member struct {
	name  string
	path  fieldPath
	key   filePosition
	value *yaml.Node
}

func (d *yamlDecoder) unknownField(parent fieldPath, m member, fields []configField) {
	var names []string
	for _, f := range fields {
		names = append(names, f.name)
	}
	if near := nearest(m.name, names); near != "" {
		d.addAt(m.key, m.path, "unknown field %s, did you mean %q?", quote(m.name), near)
		// The field is there, if misspelt: do not call it missing too.
		if !d.given(parent.field(near)) {
			d.spoil(parent.field(near))
		}
		return
	}
	d.addAt(m.key, m.path, "unknown field %s: there %s", quote(m.name), areThese(names))
}

// configField is a field of a Config type as the file knows it.
type configField struct {
	name  string
	index int
}

func fieldsOf(t reflect.Type) []configField {
	var fields []configField
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); name != "" {
			fields = append(fields, configField{name, i})
		}
	}
	return fields
}

// firstText returns the name of a struct's first field if that is a text, which is
// then what people mean who write it without a name; else "".
func firstText(t reflect.Type) string {
	if t.Kind() != reflect.Struct || t.Field(0).Type.Kind() != reflect.String {
		return ""
	}
	return fieldsOf(t)[0].name
}

// nearest returns the name that s is a likely misspelling of, "" if there is
// none.
func nearest(s string, names []string) string {
	const longest = 40 // no name of ours is longer
	if len(s) > longest {
		return ""
	}
	plain := func(s string) string { return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(s)) }
	best, bestDistance := "", 3
	for _, name := range names {
		if n := editDistance(plain(s), plain(name)); n < bestDistance && n*3 <= len(name) {
			best, bestDistance = name, n
		}
	}
	return best
}

// editDistance counts the letters to insert, delete or replace (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
