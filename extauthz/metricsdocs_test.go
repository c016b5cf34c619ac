package extauthz

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/claimgate/claimgate/oidc"
)

// labelsOfMetrics returns the labels of every metric that there is, sorted.
func labelsOfMetrics() map[string][]string {
	descs := make(chan *prometheus.Desc, 100)
	for _, c := range append(newMetrics().collectors(), stateCollector{}) {
		c.Describe(descs)
	}
	close(descs)
	all := map[string][]string{}
	for d := range descs {
		m := regexp.MustCompile(`fqName: "([^"]+)".*variableLabels: \{([^}]*)\}`).FindStringSubmatch(d.String())
		labels := strings.FieldsFunc(m[2], func(r rune) bool { return r == ',' })
		slices.Sort(labels)
		all[m[1]] = labels
	}
	return all
}

// busyGate returns a gate that has done everything that is counted.
func busyGate(t *testing.T) *testGate {
	t.Helper()
	g := newTestGate(t, "issuers:\n- {issuer: $issuer, name: shop, audiences: [api], keys: {snapshotFile: "+filepath.Join(t.TempDir(), "keys")+"}}\n"+
		"- {issuer: 'http://id.example', name: plain, audiences: [api], insecure: true}\npolicies: [{name: all}]")
	g.check(t, checkRequest("/", "authorization", "Bearer "+g.issuer.Token(nil)))
	g.check(t, checkRequest("/"))
	g.Gate.serverCertificate.Store(&x509.Certificate{NotBefore: time.Unix(1, 0), NotAfter: time.Unix(2, 0)})
	return g
}

// TestMetricsPage compares docs/metrics.md with the program: names, types, labels.
func TestMetricsPage(t *testing.T) {
	page, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	families, err := busyGate(t).registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]string{}
	for _, f := range families {
		types[f.GetName()] = strings.ToLower(f.GetType().String())
	}
	var want []string
	for name, labels := range labelsOfMetrics() {
		want = append(want, strings.Join(append([]string{name, types[name]}, labels...), " "))
	}
	values := regexp.MustCompile(`\([^)]*\)`)
	var got []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\w+) \\| ([^|]*)\\|").FindAllStringSubmatch(string(page), -1) {
		labels := quoted(values.ReplaceAllString(row[3], ""))
		slices.Sort(labels)
		got = append(got, strings.Join(append([]string{row[1], row[2]}, labels...), " "))
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the page has\n%s\nthe program has\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, result := range []oidc.FetchResult{
		oidc.FetchOK, oidc.FetchNotModified, oidc.FetchTimeout, oidc.FetchConnect, oidc.FetchTLS, oidc.FetchStatus,
		oidc.FetchTooLarge, oidc.FetchMalformed, oidc.FetchEmpty, oidc.FetchRefused,
	} {
		if !strings.Contains(string(page), "`"+string(result)+"`") {
			t.Errorf("the page does not say what the result %s is", result)
		}
	}
}

func TestChecksHaveANativeHistogramBesideTheBuckets(t *testing.T) {
	families, err := busyGate(t).registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, f := range families {
		if f.GetName() != "claimgate_check_duration_seconds" {
			continue
		}
		for _, m := range f.GetMetric() {
			seen++
			h := m.GetHistogram()
			if h.GetSchema() < 2 || h.GetZeroThreshold() == 0 {
				t.Errorf("no native histogram: %v", m)
			}
			buckets := h.GetBucket()
			if len(buckets) < 10 || buckets[0].GetUpperBound() != 25e-6 || buckets[len(buckets)-1].GetUpperBound() != 1 {
				t.Errorf("the buckets are %v", buckets)
			}
		}
	}
	if seen != 2 {
		t.Errorf("%d histograms, want one for each verdict", seen)
	}
}
