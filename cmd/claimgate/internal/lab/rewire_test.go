package lab_test

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/lab"
	envoyconfig "github.com/claimgate/claimgate/envoy-config"
)

var there = lab.Addresses{
	Edge: "127.0.0.2:1", Admin: "127.0.0.2:2", Gate: "127.0.0.2:3", Workforce: "127.0.0.2:4", Customers: "127.0.0.2:5",
}

func TestRewireChangesNothingButAddresses(t *testing.T) {
	rewired, err := lab.Rewire(envoyconfig.Envoy, there, true)
	if err != nil {
		t.Fatal(err)
	}
	back := strings.NewReplacer(
		"address: 127.0.0.2, port_value: 1}", "address: 127.0.0.1, port_value: 8080}",
		"address: 127.0.0.2, port_value: 2}", "address: 127.0.0.1, port_value: 9901}",
		"address: 127.0.0.2, port_value: 3}", "address: 127.0.0.1, port_value: 9191}",
		"address: 127.0.0.2, port_value: 4}", "address: 127.0.0.1, port_value: 8081}",
		"address: 127.0.0.2, port_value: 5}", "address: 127.0.0.1, port_value: 8082}",
	).Replace(string(rewired))
	if got, want := canonical(t, back), canonical(t, string(envoyconfig.Envoy)); got != want {
		t.Errorf("more than addresses changed:\n%s", got)
	}
}

func TestRewireSwitchesTheEncoding(t *testing.T) {
	rewired, err := lab.Rewire(envoyconfig.Envoy, there, false)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(rewired), "encode_raw_headers: false") {
		t.Error("encode_raw_headers is still on")
	}
}

// A file that was edited carelessly must not send a test to a place that nobody
// knows.
func TestRewireRefusesWhatItDoesNotKnow(t *testing.T) {
	shipped := string(envoyconfig.Envoy)
	for name, test := range map[string]struct{ old, with, want string }{
		"no YAML":            {"static_resources:", "static_resources: [", "Envoy's file: "},
		"a foreign address":  {"port_value: 8081", "port_value: 8089", "unknown or repeated address 127.0.0.1:8089"},
		"one address twice":  {"port_value: 8082", "port_value: 8081", "unknown or repeated address 127.0.0.1:8081"},
		"a foreign socket":   {"socket_address: {address: 127.0.0.1, port_value: 9191}", "pipe: {path: /tmp/gate.sock}", "unknown or repeated address /tmp/gate.sock"},
		"a pipe to nowhere":  {"socket_address: {address: 127.0.0.1, port_value: 9191}", "pipe: {}", "a pipe without path"},
		"no port":            {", port_value: 9191", "", "a socket_address without address or port_value"},
		"no gate":            {"socket_address: {address: 127.0.0.1, port_value: 9191}", "envoy_internal_address: {server_listener_name: gate}", "lacks the address of the gate"},
		"no choice of forms": {"encode_raw_headers: true", "x: true", "encode_raw_headers 0 times"},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.Count(shipped, test.old) != 1 {
				t.Fatalf("%q is not there once", test.old)
			}
			_, err := lab.Rewire([]byte(strings.Replace(shipped, test.old, test.with, 1)), there, true)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

// canonical writes YAML without comments and style.
func canonical(t *testing.T, text string) string {
	t.Helper()
	var v any
	if err := yaml.Load([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	b, err := yaml.Dump(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
