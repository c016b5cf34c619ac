package extauthz

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	File   string // as it was given; "" for a Config built by hand
	Line   int    // from 1; 0 if no place in a file is meant
	Column int    // from 1, in characters
	Path   string // of the field, like issuers[0].leeway; "" for the whole file
	Text   string // what is wrong and, where it helps, what to write instead
}

// String returns FILE:LINE:COLUMN: PATH: TEXT without what is not known.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
		}
		b.WriteString(": ")
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Text)
	return b.String()
}

// ConfigError is everything that is wrong with a configuration, in the file's
// order.
type ConfigError struct{ Problems []Problem }

// Error returns a line for each problem.
func (e *ConfigError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// fieldPath names a place in the configuration as people write it: issuers[0].leeway,
// policies[1].claims["/realm_access/roles"][0]. The empty path is the whole.
type fieldPath string

func (p fieldPath) field(name string) fieldPath {
	if p == "" {
		return fieldPath(name)
	}
	return p + "." + fieldPath(name)
}

func (p fieldPath) index(i int) fieldPath { return p + fieldPath("["+strconv.Itoa(i)+"]") }

// key is a member of a map, whose name can be anything.
func (p fieldPath) key(name string) fieldPath {
	plain := func(r rune) bool {
		return r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
	}
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return !plain(r) }) {
		return p + fieldPath("["+strconv.Quote(name)+"]")
	}
	return p.field(name)
}

// parent cuts the last step off.
func (p fieldPath) parent() fieldPath {
	last := 0
	for i := 0; i < len(p); {
		last = i
		if strings.HasPrefix(string(p[i:]), `["`) {
			quoted, err := strconv.QuotedPrefix(string(p[i+1:]))
			if err != nil {
				return ""
			}
			i += len(quoted) + len("[]")
			continue
		}
		if n := strings.IndexAny(string(p[i+1:]), ".["); n >= 0 {
			i += 1 + n
			continue
		}
		break
	}
	return p[:last]
}

// filePosition is where a value begins in a file. The zero filePosition is nowhere.
type filePosition struct{ line, column int }

// faults collects problems, and knows where each path stands in the file.
type faults struct {
	file string
	at   map[fieldPath]filePosition // nil for a Config built by hand
	list []Problem

	wrong map[fieldPath]bool // what has a problem
	below map[fieldPath]bool // what has a problem, or has one below
}

func newFaults(file string) *faults {
	return &faults{file: file, wrong: map[fieldPath]bool{}, below: map[fieldPath]bool{}}
}

// add reports a problem with the value at p or, if the file does not have it,
// where it would belong.
func (f *faults) add(p fieldPath, format string, args ...any) {
	f.addAt(f.position(p), p, format, args...)
}

func (f *faults) addAt(at filePosition, p fieldPath, format string, args ...any) {
	f.list = append(f.list, Problem{f.file, at.line, at.column, string(p), printable(fmt.Sprintf(format, args...))})
	f.spoil(p)
}

// spoil makes p broken without another problem.
func (f *faults) spoil(p fieldPath) {
	f.wrong[p] = true
	for ; !f.below[p]; p = p.parent() {
		f.below[p] = true
	}
}

// missing reports a field that must be there, at its parent's place, unless its
// absence is explained already.
func (f *faults) missing(p fieldPath, format string, args ...any) {
	if !f.given(p) && !f.broken(p) {
		f.add(p, "is missing: "+format, args...)
	}
}

func (f *faults) position(p fieldPath) filePosition {
	if f.at == nil {
		return filePosition{}
	}
	for p != "" {
		if at, ok := f.at[p]; ok {
			return at
		}
		p = p.parent()
	}
	return cmp.Or(f.at[""], filePosition{1, 1})
}

// given reports whether the file has the path, with whatever value.
func (f *faults) given(p fieldPath) bool {
	_, ok := f.at[p]
	return ok
}

// broken reports whether p, something below it or what it belongs to has a
// problem, so that what depends on its value cannot be judged.
func (f *faults) broken(p fieldPath) bool {
	if f.below[p] {
		return true
	}
	for p != "" && !f.wrong[p] {
		p = p.parent()
	}
	return f.wrong[p]
}

// err returns what was collected, nil if nothing was.
func (f *faults) err() error {
	if len(f.list) == 0 {
		return nil
	}
	return &ConfigError{f.sorted()}
}

// sorted returns what was collected, in the file's order.
func (f *faults) sorted() []Problem {
	slices.SortStableFunc(f.list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return f.list
}

// printable keeps a problem on one line, and what the file says from steering a
// terminal.
func printable(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return s
	}
	quoted := strconv.Quote(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// quote quotes a value of the file for a message, and not all of a long one.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		return strconv.Quote(strings.ToValidUTF8(s[:most], "")) + "…"
	}
	return strconv.Quote(s)
}
