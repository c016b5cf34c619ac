package extauthz

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// The pages of docs/issuers are run. In each page
//
//   - a block of yaml is a configuration that validates, or one that is followed by
//     the block of what claimgate validate says;
//   - the first block is the configuration that the rows of its tables are about;
//   - a row "| `{…}` | `message` | … |" is a token that is the provider's good one of
//     oidc/testdata/presets but for these claims (header for those of its header), and
//     the step at which claimgate check says that it fails.
//
// With -update the messages are written anew.

const issuerPages = "../docs/issuers"

func TestIssuerPages(t *testing.T) {
	index, err := os.ReadFile(filepath.Join(issuerPages, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, preset := range oidc.Presets() {
		t.Run(string(preset), func(t *testing.T) {
			file := filepath.Join(issuerPages, string(preset)+".md")
			data, err := os.ReadFile(file) //nolint:gosec // our own pages
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(index), "]("+string(preset)+".md)") {
				t.Errorf("the index does not name %s.md", preset)
			}
			got := runIssuerPage(t, preset, string(data))
			if got == string(data) {
				return
			}
			if !*update {
				t.Errorf("%s:\n%s", file, lineDiff(string(data), got))
			} else if err := os.WriteFile(file, []byte(got), 0o644); err != nil { //nolint:gosec // a page
				t.Fatal(err)
			}
		})
	}
}

var (
	configBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```\n(?:\n[^\n]+:\n)?(?:\n```\n(claimgate.yaml:.*?)```\n)?")
	mistakeRow  = regexp.MustCompile("(?m)^\\| `(\\{.*?\\})` \\| `([^`]*)` \\| (.+) \\|$")
)

// runIssuerPage returns the page as it should read.
func runIssuerPage(t *testing.T, preset oidc.Preset, page string) string {
	t.Helper()
	var first *Config
	page = replaceEach(page, configBlock, func(whole, config, said string) string {
		cfg, err := ParseConfig("claimgate.yaml", []byte(config))
		switch {
		case err == nil && said != "":
			t.Errorf("this is good, and the page says\n%s%s", said, config)
		case err == nil && first == nil:
			first = cfg
		case err != nil && said == "":
			t.Errorf("this does not validate: %v\n%s", err, config)
		case err != nil:
			return strings.Replace(whole, said, err.Error()+"\n", 1)
		}
		return whole
	})
	if first == nil || first.Issuers[0].Preset != preset {
		t.Fatal("the first configuration is not of this preset")
	}
	rows := 0
	gate, mint := gateOfPage(t, preset, first)
	if answer := explainToken(t.Context(), gate, mint("{}")); answer != "" {
		t.Errorf("the good token: %s", answer)
	}
	page = replaceEach(page, mistakeRow, func(whole, changes, said string) string {
		rows++
		return strings.Replace(whole, "`"+said+"`", "`"+explainToken(t.Context(), gate, mint(changes))+"`", 1)
	})
	if rows < 2 {
		t.Errorf("the page has %d tokens that are refused, want two at least", rows)
	}
	return page
}

// replaceEach replaces each match, given its first two groups.
func replaceEach(s string, re *regexp.Regexp, by func(whole, first, second string) string) string {
	return re.ReplaceAllStringFunc(s, func(whole string) string {
		m := re.FindStringSubmatch(whole)
		return by(whole, m[1], m[2])
	})
}

// gateOfPage makes a gate of a page's configuration, with the provider's key set
// in a file, and what mints tokens for it.
func gateOfPage(t *testing.T, preset oidc.Preset, cfg *Config) (*Gate, func(changes string) string) {
	t.Helper()
	dir := filepath.Join("../oidc/testdata/presets", string(preset))
	var token struct{ Header, Claims map[string]any }
	var set map[string]any
	readFixture(t, filepath.Join(dir, "token.json"), &token)
	readFixture(t, filepath.Join(dir, "jwks.json"), &set)

	// The key that signed the provider's token is ours from here on.
	alg, _ := token.Header["alg"].(string)
	key := oidctest.NewKey(alg, "")
	var public map[string]any
	for _, k := range set["keys"].([]any) {
		if k := k.(map[string]any); k["kid"] == token.Header["kid"] {
			public = maps.Clone(k)
		}
	}
	for _, k := range set["keys"].([]any) {
		k := k.(map[string]any)
		if k["n"] == public["n"] && k["x"] == public["x"] {
			for _, member := range []string{"n", "e", "x", "y"} {
				if v, ok := key.JWK()[member]; ok {
					k[member] = v
				}
			}
		}
	}
	file := filepath.Join(t.TempDir(), "keys.json")
	text, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	own := *cfg
	own.Issuers = slices.Clone(cfg.Issuers[:1])
	own.Issuers[0].JWKSFile, own.Issuers[0].JWKSURL, own.Issuers[0].DiscoveryURL, own.Issuers[0].HTTP = file, "", "", HTTPConfig{}
	bePatient(&own)
	gate, err := NewGate(&own, Options{Clock: func() time.Time { return time.Unix(1_800_000_060, 0) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(gate.Close)

	issuer := oidctest.NewIssuer()
	t.Cleanup(issuer.Close)
	return gate, func(changes string) string {
		header, claims := maps.Clone(token.Header), maps.Clone(token.Claims)
		var changed map[string]any
		if err := json.Unmarshal([]byte(changes), &changed); err != nil {
			t.Fatalf("%s: %v", changes, err)
		}
		more, _ := changed["header"].(map[string]any)
		maps.Copy(header, more)
		delete(changed, "header")
		maps.Copy(claims, changed)
		maps.DeleteFunc(header, func(_ string, v any) bool { return v == nil })
		return issuer.Token(nil, oidctest.SignWith(key), oidctest.RawHeader(asBytes(t, header)), oidctest.RawClaims(asBytes(t, claims)))
	}
}

func asBytes(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func readFixture(t *testing.T, file string, into any) {
	t.Helper()
	data, err := os.ReadFile(file) //nolint:gosec // our own test data
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// explainToken returns the step at which a token is refused, "" if it is let
// through.
func explainToken(ctx context.Context, gate *Gate, token string) string {
	d, steps := gate.Explain(ctx, &Request{
		Method: "GET", Host: "api.example.com", Path: "/", Scheme: "https",
		Headers: pageHeaders(token),
	})
	if d.Allowed() {
		return ""
	}
	for _, step := range slices.Backward(steps) {
		if !step.OK {
			return step.Detail
		}
	}
	return fmt.Sprintf("no step says why: %s", d.Reason())
}

// pageHeaders is a request that brings one token and nothing else.
type pageHeaders string

func (h pageHeaders) Get(name string) (string, int) {
	if name != "authorization" {
		return "", 0
	}
	return "Bearer " + string(h), 1
}

func (h pageHeaders) Names(yield func(string) bool) { yield("authorization") }
