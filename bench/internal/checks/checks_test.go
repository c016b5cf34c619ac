package checks

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/claimgate/claimgate/bench/internal/load"
)

// everything is a file with two rounds of every variant. Each figure of a variant is
// its place, and 2 more in the second round.
func everything() File {
	f := File{Rounds: 2, Rate: 1310, Envoy: "1.40.0", Peers: []string{"opa", "heimdall"}}
	variants := map[Suite][]string{
		Direct: {
			reference, gateOne, gateThousand, gateMany, gateMissing, gateForged, referenceFresh, bareRS256, gateRS256, bareES256, gateES256, gateEdDSA,
			peerOne("opa"), peerFresh("opa", "RS256"), peerFresh("opa", "ES256"), peerOne("heimdall"), peerFresh("heimdall", "RS256"), peerFresh("heimdall", "ES256"),
		},
		DirectOpen: {reference, gateOne, sameAnswer},
		Proxied:    {noFilter, jwtCached, jwtUncached, viaReference, viaGate, viaSocket, viaSame, viaPeer("opa"), viaPeer("heimdall")},
		ProxyOpen:  {noFilter, jwtCached, jwtUncached, viaReference, viaGate, viaSocket, viaSame, viaPeer("opa"), viaPeer("heimdall")},
	}
	for suite, names := range variants {
		for round := range 2 {
			for i, name := range names {
				v := float64(i + 1 + 2*round)
				f.Samples = append(f.Samples, Sample{
					Suite: suite, Variant: name, Round: round + 1, CPU: v, EnvoyCPU: v, Allocs: v, PerSecond: v,
					P50: v, P90: 2 * v, P99: 3 * v, P999: 4 * v, RSS: v, Others: v / 100,
				})
			}
		}
	}
	return f
}

func TestTablesHaveARowForEachVariant(t *testing.T) {
	f := everything()
	var b strings.Builder
	f.Table(&b)
	f.Goals(&b)
	for _, s := range f.Samples {
		if !strings.Contains(b.String(), "\n| "+s.Variant+" | ") {
			t.Errorf("no row %q", s.Variant)
		}
	}
	// The reference is the first: medians of 1 and 3. The gate is the second.
	for _, want := range []string{
		"\n| reference | 1.00 | 2 [1, 3] |", "\n| gate, one cached token | 1.50 | 3 [2, 4] |",
		"| server CPU of a cached token, to the reference | 1.50 | ≤ 0.80 | **missed** |",
		"| server CPU of heimdall, to the gate's | 5.67 | ≥ 6 | **missed** |",
		"| requests a second through Envoy, to ext_authz to the reference | 1.20 | ≥ 1 | met |",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the tables lack %q:\n%s", want, &b)
		}
	}
	if strings.Contains(b.String(), "NaN") {
		t.Errorf("something was not found:\n%s", &b)
	}
}

// What was not measured is a dash, and a peer's goal needs the peer.
func TestWhatWasNotMeasuredIsADash(t *testing.T) {
	f := everything()
	f.Peers = nil
	for i := range f.Samples {
		f.Samples[i].Allocs = 0
	}
	var b strings.Builder
	f.Table(&b)
	f.Goals(&b)
	if !strings.Contains(b.String(), "| – |") || strings.Contains(b.String(), "heimdall") || strings.Contains(b.String(), "opa") {
		t.Errorf("%s", &b)
	}
}

func TestThePictureShowsAll(t *testing.T) {
	f := everything()
	var b strings.Builder
	if err := f.Picture(&b); err != nil {
		t.Fatal(err)
	}
	bars := 0
	for d := xml.NewDecoder(strings.NewReader(b.String())); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
			bars++
		}
	}
	if want := 1 + 3*9; bars != want {
		t.Errorf("%d rectangles, want %d", bars, want)
	}
	for _, want := range []string{viaSocket, viaPeer("opa"), "prefers-color-scheme: dark", "1310 requests a second"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the picture lacks %q", want)
		}
	}
	if err := (File{}).Picture(io.Discard); err != nil {
		t.Errorf("a picture of nothing: %v", err)
	}
}

func TestTicksAreRoundAndFew(t *testing.T) {
	for length, want := range map[float64]float64{0: 1, 0.37: 0.05, 0.8: 0.1, 1: 0.2, 4.2: 1, 8: 1, 8.1: 2, 99: 20} {
		if got := tick(length); got < want*0.999 || got > want*1.001 {
			t.Errorf("tick(%v) = %v, want %v", length, got, want)
		}
	}
}

func TestPeersAreRead(t *testing.T) {
	for text, want := range map[string]Peer{
		"opa=127.0.0.1:9191":       {"opa", "127.0.0.1:9191", 0},
		"opa=127.0.0.1:9191,17":    {"opa", "127.0.0.1:9191", 17},
		"a b=unix:/run/x.sock,100": {"a b", "unix:/run/x.sock", 100},
	} {
		if got, err := ParsePeer(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "opa", "=127.0.0.1:1", "opa=", "opa=127.0.0.1:1,", "opa=127.0.0.1:1,x", "opa=127.0.0.1:1,-3", "opa=127.0.0.1:1,0"} {
		if p, err := ParsePeer(text); err == nil {
			t.Errorf("%q was taken for %+v", text, p)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	good := Options{Rounds: 1, Requests: 1, Cold: 1, Many: 1, Rate: 1000, Open: time.Second}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*Options){
		"rounds": func(o *Options) { o.Rounds = 0 }, "rate": func(o *Options) { o.Rate = 0 }, "open": func(o *Options) { o.Open = 0 },
		"peers": func(o *Options) { o.Peers = []Peer{{Name: "a"}, {Name: "a"}} },
	} {
		o := good
		spoil(&o)
		if o.Check() == nil {
			t.Errorf("bad %s are taken", name)
		}
	}
}

// Fresh tokens are sent once, and a list that is longer than a run is gone through.
func TestSources(t *testing.T) {
	checks := []load.Check{load.Check("a"), load.Check("b"), load.Check("c")}
	list := func(checks []load.Check) string {
		var b strings.Builder
		for _, c := range checks {
			b.Write(c)
		}
		return b.String()
	}
	f := fresh([][]load.Check{checks[:1], checks[1:]})
	if a, b, c := f.next(), f.next(), f.next(); list(a) != "a" || list(b) != "bc" || c != nil || !f.once {
		t.Errorf("fresh: %q %q %q", a, b, c)
	}
	r := rotating(checks, 2)
	if a, b := list(r.next()), list(r.next()); a != "cab" || b != "bca" {
		t.Errorf("rotating: %s %s", a, b)
	}
}

// The whole of make bench, with a handful of checks.
func TestBenchInShort(t *testing.T) {
	if os.Getenv("CLAIMGATE_E2E") == "" {
		t.Skip("set CLAIMGATE_E2E=1 and ENVOY, or run make test-integration")
	}
	f, err := Run(t.Context(), Options{
		Gate: "../../../bin/claimgate", Envoy: os.Getenv("ENVOY"), Rounds: 1, Requests: 50, Cold: 20, Many: 100,
		Rate: 200, Open: 200 * time.Millisecond, Progress: io.Discard,
	})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	f.Table(&b)
	f.Goals(&b)
	f.AboutJWTAuthn(&b)
	f.AboutTheWay(&b)
	if strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "Inf") || len(f.Samples) != 29 {
		t.Errorf("%d samples, want 29:\n%s", len(f.Samples), &b)
	}
}
