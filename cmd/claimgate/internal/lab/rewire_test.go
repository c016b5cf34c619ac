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
