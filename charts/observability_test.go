package charts_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/claimgate/claimgate/oidc"
)

// alert is a rule of alerts.yaml.
type alert struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func alerts(t *testing.T) []alert {
	t.Helper()
	data, err := os.ReadFile("observability/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string  `yaml:"name"`
			Rules []alert `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.Load(data, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Groups) != 1 || len(file.Groups[0].Rules) < 5 {
		t.Fatalf("groups: %+v", file.Groups)
	}
	return file.Groups[0].Rules
}

// dashboardQueries returns the queries of dashboard.json by the panel's title, those
// of its variables too.
func dashboardQueries(t *testing.T) map[string][]string {
	t.Helper()
	data, err := os.ReadFile("observability/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Panels []struct {
			ID      int
			Type    string
			Title   string
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Name, Definition string }
		}
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	queries, ids := map[string][]string{}, map[int]bool{}
	for _, p := range file.Panels {
		if ids[p.ID] || p.Title == "" || p.Type != "row" && len(p.Targets) == 0 || queries[p.Title] != nil {
			t.Errorf("panel %d, %q: its number, title or queries are missing or there twice", p.ID, p.Title)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			queries[p.Title] = append(queries[p.Title], target.Expr)
		}
	}
	for _, v := range file.Templating.List {
		if v.Definition != "" {
			queries["variable "+v.Name] = []string{v.Definition}
		}
	}
	if len(queries) < 15 {
		t.Fatalf("queries: %v", queries)
	}
	return queries
}

// documentedMetrics returns the labels of each metric in docs/metrics.md, which
// another test compares with the program.
func documentedMetrics(t *testing.T) map[string][]string {
	t.Helper()
	page, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	values, name := regexp.MustCompile(`\([^)]*\)`), regexp.MustCompile("`(\\w+)`")
	metrics := map[string][]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\w+) \\| ([^|]*)\\|").FindAllStringSubmatch(string(page), -1) {
		labels := []string{"job", "instance"} // from Prometheus
		for _, label := range name.FindAllStringSubmatch(values.ReplaceAllString(row[3], ""), -1) {
			labels = append(labels, label[1])
		}
		if row[2] == "histogram" {
			metrics[row[1]+"_bucket"] = append(slices.Clone(labels), "le")
			metrics[row[1]+"_sum"], metrics[row[1]+"_count"] = labels, labels
		} else {
			metrics[row[1]] = labels
		}
	}
	if len(metrics) < 15 {
		t.Fatalf("metrics: %v", metrics)
	}
	return metrics
}

var (
	selector    = regexp.MustCompile(`\b(claimgate_\w+)(?:\{([^}]*)\})?`)
	matcher     = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"`)
	aggregation = regexp.MustCompile(`\b(?:by|on|without)\s*\(([^)]*)\)`)
)

// checkQuery looks for metrics, labels and values in a query that the program does
// not have.
func checkQuery(metrics map[string][]string, query string) error {
	var known []string // labels of the query's metrics
	found := selector.FindAllStringSubmatch(query, -1)
	if len(found) == 0 {
		return fmt.Errorf("there is no metric of ours")
	}
	for _, m := range found {
		labels, ok := metrics[m[1]]
		if !ok {
			return fmt.Errorf("there is no metric %s", m[1])
		}
		known = append(known, labels...)
		for _, label := range matcher.FindAllStringSubmatch(m[2], -1) {
			if !slices.Contains(labels, label[1]) {
				return fmt.Errorf("%s has no label %s", m[1], label[1])
			}
			if label[1] == "reason" {
				for reason := range strings.SplitSeq(label[2], "|") {
					if !slices.Contains(oidc.Reasons(), oidc.Reason(reason)) {
						return fmt.Errorf("there is no reason %s", reason)
					}
				}
			}
		}
	}
	for _, a := range aggregation.FindAllStringSubmatch(query, -1) {
		for label := range strings.SplitSeq(a[1], ",") {
			if !slices.Contains(known, strings.TrimSpace(label)) {
				return fmt.Errorf("no metric of the query has the label %s", label)
			}
		}
	}
	return nil
}

func TestAlertsAndDashboardAskForWhatTheGateExports(t *testing.T) {
	metrics := documentedMetrics(t)
	for _, wrong := range []string{"up", "claimgate_nope", `claimgate_keys{kid="1"}`, "sum by (kid) (claimgate_keys)", `claimgate_checks_total{reason="nope"}`} {
		if checkQuery(metrics, wrong) == nil {
			t.Errorf("nothing is found wrong with %s", wrong)
		}
	}
	for _, a := range alerts(t) {
		if err := checkQuery(metrics, a.Expr); err != nil {
			t.Errorf("%s: %v", a.Alert, err)
		}
	}
	for title, queries := range dashboardQueries(t) {
		for _, query := range queries {
			if err := checkQuery(metrics, query); err != nil {
				t.Errorf("%s: %v", title, err)
			}
		}
	}
}

// The alert and the panel about 503 name all reasons that are answered so.
func TestEveryReasonFor503Counts(t *testing.T) {
	var want []string
	for _, r := range oidc.Reasons() {
		if r.Status() == 503 {
			want = append(want, string(r))
		}
	}
	slices.Sort(want)
	queries := dashboardQueries(t)["Answered 503"]
	for _, a := range alerts(t) {
		if a.Alert == "ClaimgateUnavailable" {
			queries = append(queries, a.Expr)
		}
	}
	if len(queries) != 2 {
		t.Fatalf("queries: %v", queries)
	}
	for _, query := range queries {
		got := strings.Split(regexp.MustCompile(`reason=~"([^"]*)"`).FindStringSubmatch(query)[1], "|")
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("the reasons are %v, want %v", got, want)
		}
	}
}

func TestEachAlertHasARunbook(t *testing.T) {
	page, err := os.ReadFile("../docs/runbooks.md")
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, heading := range regexp.MustCompile(`(?m)^## (\w+)$`).FindAllStringSubmatch(string(page), -1) {
		got = append(got, heading[1])
	}
	for _, a := range alerts(t) {
		want = append(want, a.Alert)
		if link := "docs/runbooks.md#" + strings.ToLower(a.Alert); a.Annotations["runbook_url"] != link || a.Annotations["summary"] == "" {
			t.Errorf("%s has the annotations %v", a.Alert, a.Annotations)
		}
		if s := a.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s has the severity %q", a.Alert, s)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the runbooks are %v, the alerts %v", got, want)
	}
}

// The chart's PrometheusRule has the same alerts. With -update its copy is written
// anew.
func TestTheChartHasTheAlerts(t *testing.T) {
	const file, chart = "observability/alerts.yaml", "claimgate/files/alerts.yaml"
	want := readFile(t, file)
	if *update {
		if err := os.WriteFile(chart, want, 0o644); err != nil { //nolint:gosec // for everybody to read
			t.Fatal(err)
		}
	}
	if !bytes.Equal(readFile(t, chart), want) {
		t.Errorf("%s is not %s: run go test ./charts -update", chart, file)
	}
	var alone any
	if err := yaml.Load(want, &alone); err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, o := range objects(t, readFile(t, "testdata/central.yaml")) {
		if o.Kind == "PrometheusRule" {
			found++
			if !reflect.DeepEqual(o.Spec, alone) {
				t.Errorf("the chart makes another PrometheusRule than %s", file)
			}
		}
	}
	if found != 1 {
		t.Errorf("the golden has %d PrometheusRules", found)
	}
}

// promtool runs the promtool that make test-alerts names. Without it the tests that
// need it are skipped, but not in CI.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	binary := os.Getenv("CLAIMGATE_PROMTOOL")
	if binary == "" {
		t.Skip("skipped: make test-alerts runs it")
	}
	if out, err := exec.CommandContext(t.Context(), binary, args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestPromtoolFindsTheAlertsGood(t *testing.T) {
	promtool(t, "check", "rules", "--lint=all", "--lint-fatal", "observability/alerts.yaml")
	promtool(t, "test", "rules", "observability/alerts_test.yaml")
}

// The dashboard's queries, with its variables filled in, are made rules of.
func TestPromtoolCanReadTheDashboard(t *testing.T) {
	variables := strings.NewReplacer("$job", ".*", "$instance", ".*", "$issuer", ".*", "$__rate_interval", "5m")
	type rule struct {
		Record string `json:"record"`
		Expr   string `json:"expr"`
	}
	var rules []rule
	for title, queries := range dashboardQueries(t) {
		for _, query := range queries {
			if filled := variables.Replace(query); !strings.HasPrefix(title, "variable ") {
				if strings.Contains(filled, "$") {
					t.Errorf("%s has an unknown variable: %s", title, query)
				}
				rules = append(rules, rule{fmt.Sprintf("query%d", len(rules)), filled})
			}
		}
	}
	data, err := json.Marshal(map[string]any{"groups": []map[string]any{{"name": "dashboard", "rules": rules}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", file)
}
