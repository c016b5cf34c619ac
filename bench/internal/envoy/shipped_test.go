package envoy

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	envoyconfig "github.com/claimgate/claimgate/envoy-config"
)

// What is measured is what users copy: only addresses and the kind of endpoints
// differ.
func TestShippedDiffersInAddressesOnly(t *testing.T) {
	var shipped object
	if err := yaml.Unmarshal(envoyconfig.Envoy, &shipped); err != nil {
		t.Fatal(err)
	}
	for _, gates := range []Endpoints{Static("127.0.0.1:1", "/run/gate.sock"), InFile("/run/endpoints.json")} {
		text, err := Shipped(gates, "127.0.0.1:2", false)
		if err != nil {
			t.Fatal(err)
		}
		var made object
		if err := yaml.Unmarshal(text, &made); err != nil {
			t.Fatal(err)
		}
		got, want := flatten("", made), flatten("", shipped)
		for _, lines := range []*[]string{&got, &want} {
			*lines = slices.DeleteFunc(*lines, func(line string) bool {
				for _, part := range []string{"load_assignment", "socket_address", "/clusters/type=", "eds_cluster_config"} {
					if strings.Contains(line, part) {
						return true
					}
				}
				return false
			})
			slices.Sort(*lines)
		}
		if len(want) < 50 || !slices.Equal(got, want) {
			t.Errorf("%v: the file is\n%s\nand the shipped one\n%s", gates, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		for _, address := range append(gates.addresses, gates.file, "127.0.0.1:2") {
			if _, last, ok := strings.Cut(address, ":"); ok {
				address = `"port_value":` + last
			}
			if !strings.Contains(string(text), address) {
				t.Errorf("the file lacks %s", address)
			}
		}
	}
}

func TestPatienceIsForShortTimeouts(t *testing.T) {
	text, err := Shipped(Static("127.0.0.1:1"), "127.0.0.1:2", true)
	if err != nil {
		t.Fatal(err)
	}
	for _, short := range []string{`timeout":"0.`, `max_interval":"0.`} {
		if strings.Contains(string(text), short) {
			t.Errorf("a patient file has %s", short)
		}
	}
}

func TestEndpointsFileNamesAll(t *testing.T) {
	text, err := EndpointsFile("c", "127.0.0.1:1", "127.0.0.1:2")
	if err != nil {
		t.Fatal(err)
	}
	var got any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	endpoint := func(port float64) any {
		return object{"endpoint": object{"address": object{"socket_address": object{"address": "127.0.0.1", "port_value": port}}}}
	}
	want := any(object{"resources": []any{object{
		"@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment", "cluster_name": "c",
		"endpoints": []any{object{"lb_endpoints": []any{endpoint(1), endpoint(2)}}},
	}}})
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s", text)
	}
}

// flatten writes a document as PATH=VALUE lines, without the indexes of lists.
func flatten(path string, v any) []string {
	var lines []string
	switch v := v.(type) {
	case object:
		for name, member := range v {
			lines = append(lines, flatten(path+"/"+name, member)...)
		}
		if len(v) == 0 {
			lines = append(lines, path+"={}")
		}
	case []any:
		for _, element := range v {
			lines = append(lines, flatten(path, element)...)
		}
	default:
		text, _ := json.Marshal(v)
		lines = append(lines, path+"="+string(text))
	}
	return lines
}

// Peers get headers in the way that they read.
func TestOnlyJoinedFiltersDoWithoutRawHeaders(t *testing.T) {
	for joined, want := range map[bool]bool{false: true, true: false} {
		f := WithExtAuthz("127.0.0.1:1")
		if joined {
			f = f.Joined()
		}
		config, err := SideBySide(map[string]Filter{"one": f})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(config), `"encode_raw_headers":true`); got != want {
			t.Errorf("joined %t: encode_raw_headers %t", joined, got)
		}
	}
}
