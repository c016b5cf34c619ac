package extauthz

import (
	"cmp"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/claimgate/claimgate/oidc"
)

// fetchDurationMaxIssuers is where the histogram of fetches is left out: a
// histogram for each of thousands of issuers is more than anybody reads.
const fetchDurationMaxIssuers = 200

// metrics are all that the gate counts. Labels come from the configuration and
// from fixed lists only, so no request can make a series.
type metrics struct {
	checks        *prometheus.CounterVec
	duration      *prometheus.HistogramVec
	allowDuration prometheus.Observer
	denyDuration  prometheus.Observer
	inFlight      prometheus.Gauge
	fetches       *prometheus.CounterVec
	fetchDuration *prometheus.HistogramVec
	manyIssuers   atomic.Bool // fetchDuration is left out
	reloads       *prometheus.CounterVec
	recent        *recentChecks // not exported: for the status page
}

func newMetrics() *metrics {
	m := &metrics{
		recent: newRecentChecks(),
		checks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "claimgate_checks_total",
			Help: "Checks by policy, issuer, reason and verdict.",
		}, []string{"policy", "issuer", "reason", "verdict"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "claimgate_check_duration_seconds",
			Help: "How long a check took, by verdict.",
			Buckets: []float64{
				25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 150e-3, 250e-3, 500e-3, 1,
			},
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: time.Hour,
		}, []string{"verdict"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "claimgate_checks_in_flight",
			Help: "Checks that are being decided now.",
		}),
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "claimgate_key_fetches_total",
			Help: "Fetches of discovery documents and key sets, by issuer, kind and result.",
		}, []string{"issuer", "kind", "result"}),
	}
	m.allowDuration = m.duration.WithLabelValues("allow")
	m.denyDuration = m.duration.WithLabelValues("deny")
	m.fetchDuration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "claimgate_key_fetch_duration_seconds",
		Help:    "How long a fetch took, by issuer.",
		Buckets: []float64{5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1, 2.5, 5, 10, 30, 60},
	}, []string{"issuer"})
	m.reloads = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "claimgate_config_reloads_total",
		Help: "Changes of the configuration file, by whether they could be put in force.",
	}, []string{"result"})
	for _, result := range [...]string{"success", "failure"} { // there from the start: an alert wants to see the first
		m.reloads.WithLabelValues(result)
	}
	return m
}

// configured tells how many issuers there are from now on.
func (m *metrics) configured(issuers int) {
	m.manyIssuers.Store(issuers > fetchDurationMaxIssuers)
	if m.manyIssuers.Load() {
		m.fetchDuration.Reset()
	}
}

// forget removes the series of issuers and policies that are gone: labels come
// from the configuration in force.
func (m *metrics) forget(before, after *Config) {
	for i := range before.Issuers {
		if name := before.Issuers[i].Name; issuerNamed(after, name) == nil {
			gone := prometheus.Labels{"issuer": name}
			m.checks.DeletePartialMatch(gone)
			m.fetches.DeletePartialMatch(gone)
			m.fetchDuration.DeletePartialMatch(gone)
		}
	}
	for i := range before.Policies {
		if name := before.Policies[i].Name; policyNamed(after, name) == nil {
			m.checks.DeletePartialMatch(prometheus.Labels{"policy": name})
		}
	}
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.checks, m.duration, m.inFlight, m.fetches, m.fetchDuration, m.reloads}
}

// fetched counts a fetch.
func (m *metrics) fetched(e oidc.FetchEvent) {
	m.fetches.WithLabelValues(e.IssuerName, string(e.Kind), string(e.Result)).Inc()
	if !m.manyIssuers.Load() {
		m.fetchDuration.WithLabelValues(e.IssuerName).Observe(e.Duration.Seconds())
	}
}

// checked counts a decision that was made at now.
func (m *metrics) checked(d Decision, now time.Time, took time.Duration) {
	verdict, histogram := "deny", m.denyDuration
	if d.Allowed() {
		verdict, histogram = "allow", m.allowDuration
	}
	reason := d.Reason()
	m.counter(d, reason, verdict).Inc()
	m.recent.add(reason, now)
	histogram.Observe(took.Seconds())
}

// keptCounter is a counter that was found by its labels.
type keptCounter struct {
	atomic.Pointer[prometheus.Counter]
}

// counter returns the counter of such a decision. To find it by its labels takes as
// long as the decision itself, so it stays with what was prepared for a token. A
// counter of an issuer that is forgotten is forgotten too: the policies of the
// configuration after that are others, and have nothing prepared.
func (m *metrics) counter(d Decision, reason oidc.Reason, verdict string) prometheus.Counter {
	if d.prepared == nil || reason != oidc.ValidToken {
		return m.checks.WithLabelValues(d.policy, d.issuer, string(reason), verdict)
	}
	if c := d.prepared.count.Load(); c != nil {
		return *c
	}
	c := m.checks.WithLabelValues(d.policy, d.issuer, string(reason), verdict)
	d.prepared.count.Store(&c)
	return c
}

// stateCollector exports what the gate's parts know about themselves, read when
// somebody asks.
type stateCollector struct{ gate *Gate }

var (
	cacheTotalDesc   = prometheus.NewDesc("claimgate_token_cache_total", "Look-ups in the cache of verified tokens.", []string{"result"}, nil)
	cacheEntriesDesc = prometheus.NewDesc("claimgate_token_cache_entries", "Verified tokens in the cache.", nil, nil)
	keysDesc         = prometheus.NewDesc("claimgate_keys", "Keys of the issuer's key set, by state.", []string{"issuer", "state"}, nil)
	keysSuccessDesc  = prometheus.NewDesc("claimgate_keys_last_success_timestamp_seconds", "When the issuer's keys were last fetched.", []string{"issuer"}, nil)
	keysStaleDesc    = prometheus.NewDesc("claimgate_keys_stale", "1 if the issuer's keys are served although the last fetch failed.", []string{"issuer"}, nil)
	unknownKeyDesc   = prometheus.NewDesc("claimgate_unknown_key_refreshes_total", "Fetches that tokens with an unknown key asked for.", []string{"issuer", "result"}, nil)
	insecureDesc     = prometheus.NewDesc("claimgate_issuer_insecure", "1 if plain http off loopback is allowed for the issuer.", []string{"issuer"}, nil)
	snapshotDesc     = prometheus.NewDesc("claimgate_keys_snapshot_failed", "1 if the issuer's last key set could not be kept on disk.", []string{"issuer"}, nil)
	logDroppedDesc   = prometheus.NewDesc("claimgate_log_dropped_total", "Log lines lost because the sink was slow or failed.", nil, nil)
	certStartDesc    = prometheus.NewDesc("claimgate_server_certificate_not_before_timestamp_seconds", "From when on the server certificate is valid.", nil, nil)
	certEndDesc      = prometheus.NewDesc("claimgate_server_certificate_not_after_timestamp_seconds", "Until when the server certificate is valid.", nil, nil)
	reloadOKDesc     = prometheus.NewDesc("claimgate_config_last_reload_successful", "1 if the configuration file and the files of server.tls are those in force.", nil, nil)
	configTimeDesc   = prometheus.NewDesc("claimgate_config_last_success_timestamp_seconds", "When the configuration in force was loaded.", nil, nil)
	configInfoDesc   = prometheus.NewDesc("claimgate_config_info", "1; the label tells the configuration in force.", []string{"hash"}, nil)
	buildInfoDesc    = prometheus.NewDesc("claimgate_build_info", "1; the labels tell the build.", []string{"version", "goversion", "revision"}, nil)
)

// Describe implements prometheus.Collector.
func (stateCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		cacheTotalDesc, cacheEntriesDesc, keysDesc, keysSuccessDesc, keysStaleDesc, unknownKeyDesc,
		insecureDesc, snapshotDesc, logDroppedDesc, certStartDesc, certEndDesc, reloadOKDesc, configTimeDesc, configInfoDesc, buildInfoDesc,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c stateCollector) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	set := c.gate.set.Load()
	cache := set.validator.CacheStats()
	counter(cacheTotalDesc, float64(cache.Hits), "hit")
	counter(cacheTotalDesc, float64(cache.Misses), "miss")
	gauge(cacheEntriesDesc, float64(cache.Entries))
	snapshotFailed := map[string]bool{}
	for _, s := range set.validator.Status() {
		snapshotFailed[s.Name] = s.SnapshotError != ""
		gauge(keysDesc, float64(s.UsableKeys), s.Name, "usable")
		gauge(keysDesc, float64(len(s.SkippedKeys)), s.Name, "skipped")
		if !s.LastSuccess.IsZero() {
			gauge(keysSuccessDesc, float64(s.LastSuccess.Unix()), s.Name)
		}
		gauge(keysStaleDesc, boolValue(s.Stale), s.Name)
		counter(unknownKeyDesc, float64(s.UnknownKeyFetched), s.Name, "fetched")
		counter(unknownKeyDesc, float64(s.UnknownKeySuppressed), s.Name, "suppressed")
	}
	for _, name := range set.insecureIssuers {
		gauge(insecureDesc, 1, name)
	}
	for i := range set.config.Issuers {
		if ic := &set.config.Issuers[i]; ic.Keys.SnapshotFile != "" {
			gauge(snapshotDesc, boolValue(snapshotFailed[ic.Name]), ic.Name)
		}
	}
	counter(logDroppedDesc, float64(c.gate.linesLost()))
	if leaf := c.gate.serverCertificate.Load(); leaf != nil {
		gauge(certStartDesc, float64(leaf.NotBefore.Unix()))
		gauge(certEndDesc, float64(leaf.NotAfter.Unix()))
	}
	gauge(reloadOKDesc, boolValue(c.gate.trouble.Load() == nil && c.gate.tlsTrouble.Load() == nil))
	gauge(configTimeDesc, float64(set.loaded.Unix()))
	gauge(configInfoDesc, 1, set.hash)
	version, revision := buildVersion()
	gauge(buildInfoDesc, 1, cmp.Or(c.gate.version, version), runtime.Version(), revision)
}

func boolValue(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// buildVersion returns what the Go tool recorded in the binary.
func buildVersion() (version, revision string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "", ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			revision = s.Value
		}
	}
	return info.Main.Version, revision
}
