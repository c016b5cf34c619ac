package extauthz

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/claimgate/claimgate/oidc"
)

const configPage = "../docs/configuration.md"

// TestConfigurationPage compares the fields and defaults in the page with those
// of the types, in both directions.
func TestConfigurationPage(t *testing.T) {
	data, err := os.ReadFile(configPage)
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	_, later, ok := strings.Cut(page, "\n## Not supported yet\n")
	if !ok {
		t.Fatal("the page has no section of what is not supported yet")
	}
	fields := map[string]any{} // to the default, if it is a plain one
	collectFields(fields, "", reflect.ValueOf(loadGood(t, "smallest.yaml")).Elem())
	rows := fieldRows(page)

	for _, name := range slices.Sorted(maps.Keys(fields)) {
		value := fields[name]
		defaultCell, ok := rows[name]
		switch {
		case !ok:
			t.Errorf("%s has no row in a table", name)
		case value != nil && !strings.Contains(defaultCell, fmt.Sprintf("`%v`", value)):
			t.Errorf("%s: the default in the page is %s, want `%v`", name, defaultCell, value)
		}
	}
	for name := range rows {
		if _, ok := fields[name]; !ok {
			t.Errorf("the page has %s, the types do not", name)
		}
	}
	for _, preset := range laterPresets {
		if !strings.Contains(later, "`"+preset+"`") {
			t.Errorf("the preset %s is not among what is not supported yet", preset)
		}
	}
	for _, preset := range oidc.Presets() {
		if !strings.Contains(page, "| `"+string(preset)+"` |") {
			t.Errorf("the preset %s has no row", preset)
		}
	}
	for attribute := range attributeNames {
		if !strings.Contains(page, "| `"+attribute+"` |") {
			t.Errorf("the attribute %s has no row", attribute)
		}
	}
}

// The table of presets says of each what the program has of it.
func TestPresetTable(t *testing.T) {
	data, err := os.ReadFile(configPage)
	if err != nil {
		t.Fatal(err)
	}
	list := func(names []oidc.ClaimName) string {
		var cells []string
		for _, n := range names {
			cells = append(cells, "`"+n.String()+"`")
		}
		if cells == nil {
			return "none"
		}
		return strings.Join(cells, ", ")
	}
	for _, preset := range oidc.Presets() {
		rules, _ := preset.Rules()
		var types []string
		for _, typ := range rules.TokenTypes {
			if typ == "jwt" || typ == "jose" {
				typ = strings.ToUpper(typ)
			}
			types = append(types, "`"+typ+"`")
		}
		m := rules.Mappings
		row := fmt.Sprintf("| `%s` | %s | %s | %s | %s | %s |", preset, strings.Join(types, ", "), list(m.Subject), list(m.Client), list(m.Scopes), list(m.Roles))
		at := strings.Index(string(data), row)
		if at < 0 {
			t.Errorf("there is no row that begins with\n%s", row)
			continue
		}
		also, _, _ := strings.Cut(string(data)[at+len(row):], "\n")
		var want []string
		for _, n := range slices.Concat(m.Tenant, m.Audience) {
			want = append(want, "`"+n.String()+"`")
		}
		for _, name := range append(slices.Concat(rules.Required, rules.KindValues, rules.KeyUses), rules.KindClaim) {
			if name != "" {
				want = append(want, name+"`")
			}
		}
		for word, said := range map[string]bool{
			"open to all": rules.OpenToAll, "ID tokens": rules.IDTokens, "`roleObjects`": m.RoleObjects, "ends with `/`": rules.SlashAtEnd,
			"trust domain": rules.TrustDomain, "pod's files": rules.InCluster, "no `tokenTypes`": rules.TokenTypesFixed, "`{tenantid}`": rules.TemplateMetadata,
			"`aud` must be there": rules.AudRequired,
		} {
			if strings.Contains(also, word) != said {
				t.Errorf("%s: the row says %q: %t, want %t", preset, word, !said, said)
			}
		}
		for _, word := range want {
			if !strings.Contains(also, word) {
				t.Errorf("%s: the row does not have %s", preset, word)
			}
		}
	}
}

// collectFields names all fields: nested ones by their path, those of lists with
// [] after the list's name.
func collectFields(fields map[string]any, prefix string, v reflect.Value) {
	for i := range v.NumField() {
		f, value := v.Type().Field(i), v.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			continue
		}
		path := prefix + name
		var plain any
		switch {
		case f.Type.Kind() == reflect.Struct:
			collectFields(fields, path+".", value)
			if prefix != "" {
				continue // no section of the page
			}
		case f.Type.Kind() == reflect.Pointer && f.Type.Elem().Kind() == reflect.Struct:
			collectFields(fields, path+".", reflect.New(f.Type.Elem()).Elem())
			continue
		case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
			first := reflect.New(f.Type.Elem()).Elem()
			if value.Len() > 0 && name != "tokenFrom" {
				first = value.Index(0)
			}
			collectFields(fields, path+"[].", first)
		case f.Type.Kind() == reflect.Map, f.Type.Kind() == reflect.Slice, name == "issuer", name == "name":
		case f.Type.Kind() == reflect.Pointer && !value.IsNil():
			plain = value.Elem().Interface()
		case f.Type.Kind() == reflect.Bool, f.Type.Kind() != reflect.Pointer && !value.IsZero():
			plain = value.Interface()
		}
		fields[path] = plain
	}
}

// fieldRows returns the default cell of each field that has a row in a table
// with the head "field".
func fieldRows(page string) map[string]string {
	code := regexp.MustCompile("^`([^`]+)`$")
	rows := map[string]string{}
	section, table := "", false
	for line := range strings.Lines(page) {
		line = strings.TrimSpace(line)
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			section = heading
		}
		if !strings.HasPrefix(line, "|") {
			table = false
			continue
		}
		cells := strings.Split(line, " | ")
		first := strings.TrimSpace(strings.TrimPrefix(cells[0], "|"))
		if first == "field" {
			table = true
		}
		name := code.FindStringSubmatch(first)
		if !table || name == nil {
			continue
		}
		prefix := section + "."
		switch section {
		case "Top level":
			prefix = ""
		case "issuers", "policies", "policies[].match", "policies[].tokenFrom":
			prefix = section + "[]."
		}
		rows[prefix+name[1]] = cells[1]
	}
	return rows
}

// The configuration that the README shows is one that works.
func TestTheReadmesConfiguration(t *testing.T) {
	page, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "```yaml\nissuers:")
	config, _, _ := strings.Cut(rest, "```")
	if !found {
		t.Fatal("the README shows no configuration")
	}
	cfg, err := ParseConfig("README.md", []byte("issuers:"+config))
	if err != nil {
		t.Fatal(err)
	}
	gate, err := NewGate(cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	gate.Close()
}
