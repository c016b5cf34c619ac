package extauthz

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	invopop "github.com/invopop/jsonschema"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"github.com/claimgate/claimgate/oidc"
)

const schemaFile = "config.schema.json"

// TestSchemaFile holds the checked-in schema to the Go types. With -update it is
// written anew.
func TestSchemaFile(t *testing.T) {
	want, err := json.MarshalIndent(configSchema(t), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile(schemaFile, want, 0o644); err != nil { //nolint:gosec // for everybody to read
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the types say: run go test ./extauthz -run Schema -update", schemaFile)
	}
}

// configSchema makes the schema of the types, their comments and tags, and of
// the defaults of the smallest configuration.
func configSchema(t *testing.T) *invopop.Schema {
	t.Helper()
	r := &invopop.Reflector{Anonymous: true, DoNotReference: true, Mapper: scalarSchema}
	if err := r.AddGoComments("github.com/claimgate/claimgate/extauthz", "."); err != nil {
		t.Fatal(err)
	}
	s := r.Reflect(&Config{})
	s.ID = "https://github.com/claimgate/claimgate/extauthz/" + schemaFile
	s.Title = "Configuration of Claimgate"
	s.Description = ""
	refineSchema(s, reflect.ValueOf(loadGood(t, "smallest.yaml")).Elem())
	return s
}

// scalarSchema describes the types that have a syntax of their own.
func scalarSchema(t reflect.Type) *invopop.Schema {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	text := func(pattern string) *invopop.Schema { return &invopop.Schema{Type: "string", Pattern: pattern} }
	switch t {
	case reflect.TypeFor[Duration]():
		return &invopop.Schema{AnyOf: []*invopop.Schema{
			text(`^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$|^0$`), {Const: 0},
		}}
	case reflect.TypeFor[Size]():
		return &invopop.Schema{AnyOf: []*invopop.Schema{
			text(`^(0|[1-9][0-9]*)(KiB|MiB|GiB)?$`), {Type: "integer", Minimum: "0"},
		}}
	case reflect.TypeFor[ClaimValues]():
		return &invopop.Schema{Type: "array", MinItems: new(uint64(1)), Items: &invopop.Schema{
			AnyOf: []*invopop.Schema{{Type: "string"}, {Type: "number"}, {Type: "boolean"}},
		}}
	case reflect.TypeFor[oidc.Algorithm]():
		s := &invopop.Schema{Type: "string"}
		for _, a := range oidc.Algorithms() {
			s.Enum = append(s.Enum, a)
		}
		return s
	}
	return nil
}

// refineSchema says what the library cannot know: the defaults, and that no text
// and few lists may be empty.
func refineSchema(s *invopop.Schema, defaults reflect.Value) {
	t := defaults.Type()
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		property, ok := s.Properties.Get(name)
		switch {
		case name == "" || !ok:
			continue
		case t.Field(i).Type.Kind() == reflect.Struct:
			refineSchema(property, defaults.Field(i))
			continue
		}
		refineProperty(property, defaults.Field(i), t.Field(i).Tag.Get("empty") == "")
		if isDefault(t.Field(i)) && (!defaults.Field(i).IsZero() || property.Type == "boolean" && t.Field(i).Type.Kind() == reflect.Bool) {
			property.Default = defaults.Field(i).Interface()
		}
	}
	if t == reflect.TypeFor[TokenSourceConfig]() {
		for _, place := range []string{"header", "cookie", "query"} {
			s.OneOf = append(s.OneOf, &invopop.Schema{Required: []string{place}})
		}
	}
}

// isDefault reports whether the smallest configuration has the default of a
// field, and not a value that is its own.
func isDefault(f reflect.StructField) bool {
	switch f.Name {
	case "Issuer", "Issuers", "Name", "Audiences", "Policies":
		return false
	}
	return true
}

func refineProperty(s *invopop.Schema, v reflect.Value, fill bool) {
	one := uint64(1)
	switch s.Type {
	case "string":
		if s.Enum == nil {
			s.MinLength = &one
		}
	case "array":
		if fill {
			s.MinItems = &one
		}
		if elem := v.Type().Elem(); elem.Kind() == reflect.Struct {
			first := reflect.New(elem).Elem()
			if v.Len() > 0 {
				first = v.Index(0)
			}
			if elem == reflect.TypeFor[TokenSourceConfig]() {
				first = reflect.Zero(elem) // the default is that of the list
			}
			s.Items.Description = "" // of the Go type
			refineSchema(s.Items, first)
		} else if s.Items.Type == "string" && s.Items.Enum == nil {
			s.Items.MinLength = &one
		}
	case "object":
		if fill {
			s.MinProperties = &one
		}
	}
}

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	f, err := os.Open(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	doc, err := jsonschema.UnmarshalJSON(f)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(schemaFile, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSchemaAcceptsGoodConfigs(t *testing.T) {
	s := compileSchema(t)
	for _, name := range goodConfigs(t) {
		data, err := os.ReadFile(filepath.Join("testdata/config/good", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(asJSONValue(t, data)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSchemaRefusesBadConfigs is about what a schema can know: names, types and
// words.
func TestSchemaRefusesBadConfigs(t *testing.T) {
	s := compileSchema(t)
	for _, kind := range []string{
		"unknown-field*", "type-*-for-*", "type-claim-*", "null-*", "empty-*", "log-*", "preset-*", "policy-access-*",
		"duration-*", "size-fraction", "size-decimal-unit", "size-negative", "algorithm-*", "token-from-two-places", "name-upper-case",
		"policies-missing", "policy-name-missing", "issuer-missing", "server-path-parameters",
	} {
		files, err := filepath.Glob("testdata/config/bad/" + kind + ".yaml")
		if err != nil || len(files) == 0 {
			t.Fatalf("no bad configurations %s: %v", kind, err)
		}
		for _, file := range files {
			switch filepath.Base(file) {
			case "type-octal-for-number.yaml", "type-underscore-for-number.yaml", "type-too-large-a-number.yaml",
				"type-claim-value-hexadecimal.yaml", "type-claim-value-infinite.yaml":
				continue // numbers that JSON does not have, or that only Go cannot hold
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if s.Validate(asJSONValue(t, data)) == nil {
				t.Errorf("%s is good to the schema", file)
			}
		}
	}
}

// asJSONValue reads YAML as editors do before they apply a schema.
func asJSONValue(t *testing.T, data []byte) any {
	t.Helper()
	var root yaml.Node
	if err := yaml.Load(data, &root); err != nil {
		t.Fatal(err)
	}
	return jsonValue(root.Content[0])
}

func jsonValue(n *yaml.Node) any {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch n.Kind {
	case yaml.MappingNode:
		object := map[string]any{}
		for i := 0; i < len(n.Content); i += 2 {
			object[n.Content[i].Value] = jsonValue(n.Content[i+1])
		}
		return object
	case yaml.SequenceNode:
		list := []any{}
		for _, item := range n.Content {
			list = append(list, jsonValue(item))
		}
		return list
	}
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true")
	case "!!int", "!!float":
		return json.Number(n.Value)
	default:
		return n.Value
	}
}
