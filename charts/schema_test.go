package charts_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write what is generated")

const schemaFile = "claimgate/values.schema.json"

// The value config is the configuration file: what an editor refuses in the one, helm
// refuses in the other. With -update that part of the schema is written anew.
func TestValuesSchemaHasTheSchemaOfTheConfiguration(t *testing.T) {
	got := readFile(t, schemaFile)
	var values, config map[string]any
	for file, v := range map[string]*map[string]any{schemaFile: &values, "../extauthz/config.schema.json": &config} {
		if err := json.Unmarshal(readFile(t, file), v); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	// One document, one name: its references go to the whole.
	delete(config, "$schema")
	values["properties"].(map[string]any)["config"] = config
	var want bytes.Buffer
	e := json.NewEncoder(&want)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(values); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(schemaFile, want.Bytes(), 0o644); err != nil { //nolint:gosec // for everybody to read
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is not what the configuration says: run go test ./charts -update", schemaFile)
	}
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
