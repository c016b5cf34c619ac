package extauthz

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/claimgate/claimgate/oidc"
)

// The status page is for whoever is called at night: what is wrong first, in
// words. It has no scripts, loads nothing, and is small whatever the issuers are
// and say. It tells of no token, subject or path.

//go:embed status.html
var statusTemplate string

//go:embed status.css
var statusStyle string

const (
	maxStatusRows  = 60       // issuers that are shown
	maxStatusText  = 300      // characters of a text from outside
	maxStatusBytes = 64 << 10 // of all rows of issuers, escaped; the rest of the page is small
	maxStatusLines = 5        // of what is not ready, and of a configuration's problems
)

// severity orders what the page shows, the worst first; it is a class of the
// style sheet too.
type severity int

const (
	severityBad severity = iota
	severityWarn
	severityOK
)

// String implements fmt.Stringer.
func (s severity) String() string { return [...]string{"bad", "warn", "ok"}[s] }

// statusData is what the page shows.
type statusData struct {
	Style                     template.CSS
	State                     severity
	Headline                  string
	Problems                  []string
	MoreProblems              int
	Version, Revision         string
	Uptime, Started, Now      string
	Hash, Loaded, LoadedAt    string
	Policies                  int
	Reloads                   []statusReload
	Issuers                   []statusIssuer
	IssuerSummary, MoreOfThem string
	TokensCached              int
	CacheHits                 string
	Allowed, Denied           []statusReason
	Minutes                   int
}

// statusReload is a reload that failed.
type statusReload struct {
	What     string
	Ago      string
	Problems []string
	More     int
}

// statusIssuer is a row.
type statusIssuer struct {
	Name, URL string
	Level     severity
	State     string
	Keys, Age string
	Notes     []string
}

// size is about what the row takes on the page.
func (i *statusIssuer) size() int {
	n := 250 + 50*len(i.Notes)
	for _, text := range append(i.Notes, i.Name, i.URL, i.State, i.Keys, i.Age) {
		n += len(template.HTMLEscapeString(text)) + 20
	}
	return n
}

// statusReason is a row.
type statusReason struct {
	Reason           string
	Status           int
	One, Five, All   uint64
	Bars, BarsInText string
}

// status gathers what the page shows.
func (g *Gate) status() statusData {
	now := g.clock()
	set := g.set.Load()
	version, revision := buildVersion()
	data := statusData{
		Version: cmp.Or(g.version, version), Revision: revision,
		Uptime: ageText(now.Sub(g.started)), Started: timeText(g.started), Now: timeText(now),
		Hash: set.hash, Loaded: ageText(now.Sub(set.loaded)), LoadedAt: timeText(set.loaded),
		Policies: len(set.policies), Minutes: recentMinutes,
	}
	data.Problems, data.MoreProblems = someLines(g.problems())
	cache := set.validator.CacheStats()
	data.TokensCached = cache.Entries
	if all := cache.Hits + cache.Misses; all > 0 {
		data.CacheHits = fmt.Sprintf("%.1f %%", 100*float64(cache.Hits)/float64(all))
	}
	data.addReload("The configuration file cannot be used", g.trouble.Load(), now)
	data.addReload("The files of server.tls cannot be used", g.tlsTrouble.Load(), now)
	worst := data.addIssuers(set.validator.Status(), now)
	for _, counts := range g.metrics.recent.since(now) {
		row := statusReason{
			Reason: string(counts.reason), Status: counts.reason.Status(),
			One: counts.last(1), Five: counts.last(5), All: counts.last(recentMinutes),
		}
		row.Bars, row.BarsInText = bars(counts.minutes[:])
		if counts.reason.Class() == oidc.ClassAllow {
			data.Allowed = append(data.Allowed, row)
		} else {
			data.Denied = append(data.Denied, row)
		}
	}
	switch {
	case len(data.Problems) > 0:
		data.State, data.Headline = severityBad, "Not ready"
	case worst == severityBad:
		data.State, data.Headline = severityBad, "Ready, but some tokens get 503"
	case g.trouble.Load() != nil:
		data.State, data.Headline = severityWarn, "Ready, with an old configuration"
	case len(data.Reloads) > 0:
		data.State, data.Headline = severityWarn, "Ready, with an old certificate"
	case worst == severityWarn:
		data.State, data.Headline = severityWarn, "Ready, with something to look at"
	default:
		data.State, data.Headline = severityOK, "Ready"
	}
	return data
}

// addReload says why what is on disk is not in force; nil if it is.
func (data *statusData) addReload(what string, t *reloadTrouble, now time.Time) {
	if t == nil {
		return
	}
	reload := statusReload{What: what, Ago: ageText(now.Sub(t.since))}
	reload.Problems, reload.More = someLines(t.problems)
	data.Reloads = append(data.Reloads, reload)
}

// addIssuers makes the rows, those with trouble first, and returns the worst that
// was found. What has no room is counted.
func (data *statusData) addIssuers(all []oidc.IssuerStatus, now time.Time) severity {
	rows := make([]statusIssuer, 0, len(all))
	var count [3]int
	for _, s := range all {
		row := newStatusIssuer(s, now)
		count[row.Level]++
		rows = append(rows, row)
	}
	slices.SortStableFunc(rows, func(a, b statusIssuer) int {
		return cmp.Or(cmp.Compare(a.Level, b.Level), cmp.Compare(a.Name, b.Name))
	})
	data.IssuerSummary = levelsText(count)
	size := 0
	for i, row := range rows {
		if size += row.size(); i == maxStatusRows || size > maxStatusBytes {
			data.MoreOfThem = levelsText(count)
			break
		}
		count[row.Level]--
		data.Issuers = append(data.Issuers, row)
	}
	if len(rows) == 0 {
		return severityOK
	}
	return rows[0].Level
}

func levelsText(count [3]int) string {
	var parts []string
	for i, word := range [...]string{"without usable keys", "to look at", "in order"} {
		if count[i] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", count[i], word))
		}
	}
	return strings.Join(parts, ", ")
}

func newStatusIssuer(s oidc.IssuerStatus, now time.Time) statusIssuer {
	row := statusIssuer{
		Name: s.Name, URL: shownText(s.Issuer), Level: severityWarn,
		Keys: strconv.Itoa(s.UsableKeys),
	}
	switch {
	case !s.FirstFetchEnded:
		row.State = "first fetch"
	case !s.Usable:
		row.Level, row.State = severityBad, "no keys: 503"
	case s.Stale:
		row.State = "stale"
	case s.TenantsInTrouble > 0:
		row.State = "tenants"
		row.Notes = append(row.Notes, fmt.Sprintf("%d of %d tenants have stale keys or none", s.TenantsInTrouble, s.Tenants))
	case s.LastError != "" || s.SnapshotError != "":
		row.State = "in use"
	default:
		row.Level, row.State = severityOK, "ok"
	}
	if n := len(s.SkippedKeys); n > 0 {
		row.Notes = append(row.Notes, shownText(fmt.Sprintf("skipped keys: %d, such as %s", n, s.SkippedKeys[0])))
	}
	if !s.LastSuccess.IsZero() {
		row.Age = ageText(now.Sub(s.LastSuccess))
	}
	if s.LastError != "" {
		row.Notes = append(row.Notes, shownText(s.LastError))
	}
	if s.SnapshotError != "" {
		row.Notes = append(row.Notes, shownText(s.SnapshotError))
	}
	return row
}

// reloadTrouble is why the configuration file is not the one in force.
type reloadTrouble struct {
	since    time.Time
	problems []string
}

func newReloadTrouble(err error, now time.Time) *reloadTrouble {
	t := &reloadTrouble{since: now}
	var bad *ConfigError
	if !errors.As(err, &bad) {
		t.problems = []string{err.Error()}
		return t
	}
	for _, p := range bad.Problems {
		t.problems = append(t.problems, p.String())
	}
	return t
}

// someLines bounds lines that are shown, and says how many are not.
func someLines(lines []string) (some []string, more int) {
	for _, line := range lines[:min(len(lines), maxStatusLines)] {
		some = append(some, shownText(line))
	}
	return some, len(lines) - len(some)
}

// shownText bounds a text from outside and replaces what nobody can see, such as
// marks that turn the direction of writing.
func shownText(s string) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > maxStatusText {
			b.WriteRune('…')
			break
		}
		if !strconv.IsPrint(r) {
			r = '\uFFFD'
		}
		b.WriteRune(r)
	}
	return b.String()
}

func timeText(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// ageText is a duration in the one or two units that matter.
func ageText(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 24*time.Hour:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%d d %d h", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	}
}

// bars draws counts as the path of an SVG of 4 by 16 for each, and says them in
// words.
func bars(counts []uint64) (path, text string) {
	const width, height = 4, 16
	highest := slices.Max(counts)
	var b, words strings.Builder
	for i, n := range counts {
		fmt.Fprintf(&words, " %d", n)
		if n > 0 {
			tall := max(1, int(float64(n)/float64(highest)*height))
			fmt.Fprintf(&b, "M%d %dv-%dh%dv%dz", i*width, height, tall, width-1, tall)
		}
	}
	return b.String(), "checks a minute:" + words.String()
}

// statusPage renders the page.
type statusPage struct {
	template *template.Template
	policy   string // Content-Security-Policy
}

func newStatusPage() *statusPage {
	sum := sha256.Sum256([]byte(statusStyle))
	return &statusPage{
		template: template.Must(template.New("status").Parse(statusTemplate)),
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	}
}

func (p *statusPage) write(w io.Writer, data statusData) error {
	data.Style = template.CSS(statusStyle) //nolint:gosec // a constant of ours
	return p.template.Execute(w, data)
}
