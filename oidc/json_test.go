package oidc

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestParseJSONRefuses(t *testing.T) {
	tests := map[string]struct {
		in   string
		want error
	}{
		"nothing":                     {"", errJSONSyntax},
		"white space only":            {" ", errJSONSyntax},
		"two values":                  {"1 2", errJSONSyntax},
		"a comma too many":            {`{"a":1,}`, errJSONSyntax},
		"a comma too many in a list":  {`[1,]`, errJSONSyntax},
		"no colon":                    {`{"a" 1}`, errJSONSyntax},
		"a name that is no string":    {`{1:1}`, errJSONSyntax},
		"an object that does not end": {`{"a":1`, errJSONSyntax},
		"a string that does not end":  {`"a`, errJSONSyntax},
		"an escape that does not end": {`"\`, errJSONSyntax},
		"an unknown escape":           {`"\x41"`, errJSONSyntax},
		"hex digits missing":          {`"\u12"`, errJSONSyntax},
		"a control byte":              {"\"\x01\"", errJSONSyntax},
		"a byte order mark":           {"\ufeff{}", errJSONSyntax},
		"a leading zero":              {"01", errJSONSyntax},
		"a plus sign":                 {"+1", errJSONSyntax},
		"a bare minus":                {"-", errJSONSyntax},
		"a fraction without digits":   {"1.", errJSONSyntax},
		"an exponent without digits":  {"1e", errJSONSyntax},
		"NaN":                         {"NaN", errJSONSyntax},
		"a comment":                   {"/**/1", errJSONSyntax},
		"a wrong word":                {"nul", errJSONSyntax},
		"invalid UTF-8":               {"\"\xff\"", errJSONUTF8},         // A12
		"overlong UTF-8":              {"\"\xc0\xaf\"", errJSONUTF8},     // A12
		"a surrogate in UTF-8":        {"\"\xed\xa0\x80\"", errJSONUTF8}, // A12
		"a lone high surrogate":       {`"\ud800"`, errJSONUTF8},
		"a lone low surrogate":        {`"\udc00"`, errJSONUTF8},
		"surrogates in wrong order":   {`"\udc00\ud800"`, errJSONUTF8},
		"a surrogate and a letter":    {`"\ud800\u0041"`, errJSONUTF8},
		"a duplicate":                 {`{"a":1,"a":1}`, errJSONDuplicate}, // A11
		"a duplicate by escape":       {`{"a":1,"\u0061":1}`, errJSONDuplicate},
		"a nested duplicate":          {`{"a":[{"b":1,"b":2}]}`, errJSONDuplicate},
		"a late duplicate":            {manyMembers(100, `,"m1":0}`), errJSONDuplicate},
		"too many members":            {manyMembers(257, "}"), errJSONMembers},
		"too deep":                    {strings.Repeat("[", 33) + strings.Repeat("]", 33), errJSONDepth}, // A19
		"too deep in objects":         {strings.Repeat(`{"a":`, 33) + "1" + strings.Repeat("}", 33), errJSONDepth},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := parseJSON(test.in); !errors.Is(err, test.want) {
				t.Errorf("parseJSON(%q) = %v, want %v", test.in, err, test.want)
			}
		})
	}
}

// manyMembers writes an object with the members m0 to m(n-1), and what is to
// follow them.
func manyMembers(n int, end string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"m%d":1`, i)
	}
	return "{" + b.String()[1:] + end
}

func TestParseJSONAccepts(t *testing.T) {
	for _, in := range []string{
		"0", "-0", "1e400", "0.10e+07", ` [ ] `, "{}", `{"":1}`, "null", "true", `"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"`, `"é😀"`,
		`{"ISS":"a","iss":"b","ſub":"c","sub":"d"}`, // A11: other case, other name
		`{"a":{"x":1},"b":{"x":1}}`,
		strings.Repeat("[", 32) + strings.Repeat("]", 32),
		manyMembers(256, "}"),
	} {
		if _, err := parseJSON(in); err != nil {
			t.Errorf("parseJSON(%q) = %v, want it accepted", in, err)
		}
	}
}

func TestValueReadsWhatWasWritten(t *testing.T) {
	v, err := parseJSON(` { "s" : "a\u00e9\ud83d\ude00\n" , "n" : 12345678901234567890123 , "b" : true ,
		"l" : [ "x" , [ ] , { "y" : "}]," } , null ] , "o" : { } , "f":1.5e1 } `)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range v.Members() {
		names = append(names, name)
	}
	if want := []string{"s", "n", "b", "l", "o", "f"}; !reflect.DeepEqual(names, want) {
		t.Errorf("members in order %q, want %q", names, want)
	}
	texts := map[string]string{"s": "aé😀\n", "n": "12345678901234567890123", "b": "true", "l": "", "o": "", "f": "1.5e1"}
	for name, want := range texts {
		m, ok := v.Member(name)
		if !ok || m.Text() != want {
			t.Errorf("member %s has text %q, %t; want %q", name, m.Text(), ok, want)
		}
	}
	list, _ := v.Member("l")
	var kinds []Kind
	for e := range list.Elements() {
		kinds = append(kinds, e.Kind())
	}
	if want := []Kind{KindString, KindArray, KindObject, KindNull}; !reflect.DeepEqual(kinds, want) {
		t.Errorf("kinds of the list %v, want %v", kinds, want)
	}
	if got, want := string(v.AppendCompact(nil)),
		`{"s":"a\u00e9\ud83d\ude00\n","n":12345678901234567890123,"b":true,"l":["x",[],{"y":"}],"},null],"o":{},"f":1.5e1}`; got != want {
		t.Errorf("compact form %s, want %s", got, want)
	}
	if _, ok := v.Member("S"); ok {
		t.Error("a member is found by another case")
	}
	f, _ := v.Member("f")
	if n, ok := f.Float64(); n != 15 || !ok {
		t.Errorf("Float64 = %v, %t", n, ok)
	}
	if _, ok := f.Int64(); ok {
		t.Error("1.5e1 counts as an integer")
	}
	if (Value{}).Kind() != KindNull {
		t.Error("the zero Value is not null")
	}
}

// FuzzParseJSON: what is accepted is JSON to the standard library too, has the
// same meaning there, and its compact form parses to the same.
func FuzzParseJSON(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":[1,2.5,"x",null,true]}`, `{"a":1,"a":2}`, `"\ud83d\ude00"`, `[[[]]]`, ` { "x" : "\"" } `, `"\u0000"`, `-1e-1`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		v, err := parseJSON(in)
		if err != nil {
			return
		}
		var theirs any
		d := json.NewDecoder(strings.NewReader(in))
		d.UseNumber()
		if err := d.Decode(&theirs); err != nil {
			t.Fatalf("accepted %q, which encoding/json refuses: %v", in, err)
		}
		if ours := plain(v); !reflect.DeepEqual(ours, theirs) {
			t.Fatalf("%q is read as %#v, by encoding/json as %#v", in, ours, theirs)
		}
		again, err := parseJSON(string(v.AppendCompact(nil)))
		if err != nil || !reflect.DeepEqual(plain(again), theirs) {
			t.Fatalf("the compact form of %q means something else: %v", in, err)
		}
	})
}

// plain converts to what encoding/json makes of the same text.
func plain(v Value) any {
	switch v.Kind() {
	case KindBool:
		return v.Bool()
	case KindNumber:
		return json.Number(v.Text())
	case KindString:
		return v.Text()
	case KindArray:
		list := []any{}
		for e := range v.Elements() {
			list = append(list, plain(e))
		}
		return list
	case KindObject:
		object := map[string]any{}
		for name, member := range v.Members() {
			object[name] = plain(member)
		}
		return object
	default:
		return nil
	}
}
