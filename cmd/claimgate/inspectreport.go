package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/inspect"
	"github.com/claimgate/claimgate/oidc"
)

// The verdicts of inspect.
const (
	verdictUnverified = "unverified" // nobody has looked at the signature
	verdictValid      = "valid"
	verdictRefused    = "refused" // or its keys could not be had: see reason
)

// inspectReport is what inspect prints. Its JSON is for scripts: names do not change
// and absent parts are left out.
type inspectReport struct {
	Verdict string          `json:"verdict"`
	Reason  string          `json:"reason,omitempty"` // with a configuration
	Kind    string          `json:"kind"`
	Usage   string          `json:"usage,omitempty"`
	Size    int             `json:"size"`
	Fault   *inspectFault   `json:"fault,omitempty"`
	Notes   []string        `json:"notes,omitempty"`
	Times   *inspectTimes   `json:"times,omitempty"`
	Header  json.RawMessage `json:"header,omitempty"`
	Claims  json.RawMessage `json:"claims,omitempty"`

	Issuer   string       `json:"issuer,omitempty"` // short name
	Why      string       `json:"why,omitempty"`    // it goes to that issuer, or to none
	Policies []string     `json:"policies,omitempty"`
	Steps    []reportStep `json:"steps,omitempty"`

	now    time.Time
	times  inspect.Times
	advice string
}

type inspectFault struct {
	Segment  string `json:"segment,omitempty"`
	Position int    `json:"position,omitempty"` // byte of the token, from 1
	What     string `json:"what"`
	Likely   string `json:"likely,omitempty"`
	line     string
}

type inspectTimes struct {
	Issued    *time.Time `json:"issued,omitempty"`
	NotBefore *time.Time `json:"notBefore,omitempty"`
	Expires   *time.Time `json:"expires,omitempty"`
	Lifetime  float64    `json:"lifetimeSeconds,omitempty"`
}

func newInspectReport(r inspect.Reading, now time.Time) *inspectReport {
	report := &inspectReport{
		Verdict: verdictUnverified, Kind: string(r.Kind), Usage: r.Usage, Size: r.Size, Notes: r.Notes,
		Header: r.Header, Claims: r.Claims, times: r.Times, now: now,
	}
	if f := r.Fault; f != nil {
		report.Fault = &inspectFault{f.Segment, f.Position, f.What, f.Likely, f.String()}
	}
	if r.Times != (inspect.Times{}) {
		at := func(t time.Time) *time.Time {
			if t.IsZero() {
				return nil
			}
			utc := t.UTC()
			return &utc
		}
		report.Times = &inspectTimes{at(r.Times.Issued), at(r.Times.NotBefore), at(r.Times.Expires), r.Times.Lifetime().Seconds()}
	}
	return report
}

// judge adds what a configuration makes of the token.
func (r *inspectReport) judge(j inspect.Judgement, file string) {
	r.Reason, r.Issuer, r.Why, r.Policies = string(j.Reason), j.Issuer, j.Why, j.Policies
	for _, s := range j.Steps {
		r.Steps = append(r.Steps, reportStep(s))
	}
	switch {
	case j.Reason != oidc.ValidToken:
		r.Verdict = verdictRefused
	case j.Unverified:
		r.Reason = "" // nothing refuses it, and nothing proves it
	default:
		r.Verdict = verdictValid
	}
	r.advice = keysAdvice(r.Reason, file, j.Issuer)
}

func (r *inspectReport) write(w io.Writer, format string) error {
	return writeReport(w, format, r, r.text)
}

// text is the report for people: the verdict first, and the token's own words behind
// what is known of them.
func (r *inspectReport) text() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-11s %s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	switch {
	case r.Fault != nil:
		line("malformed", "%s", r.Fault.line)
		if r.Fault.Likely != "" {
			line("likely", "%s", r.Fault.Likely)
		}
	case r.Verdict == verdictValid:
		line("valid", "the signature is good, and each check of issuer %s holds", r.Issuer)
	case r.Verdict == verdictRefused:
		line("refused", "%s", r.Reason)
	case r.Kind == string(inspect.Encrypted):
		line("encrypted", "nobody but the holder of its key can read or check it")
	case r.Kind == string(inspect.Opaque):
		line("opaque", "this is no JWT, and there is nothing to read")
	case r.Steps != nil:
		line("UNVERIFIED", "nothing was fetched, so the signature was not checked; all other checks hold")
	default:
		line("UNVERIFIED", "nobody has checked the signature: anybody can write a token that says this")
	}
	if r.Why != "" {
		r.writeIssuer(line)
	}
	for _, n := range r.Notes {
		line("note", "%s", n)
	}
	if r.Usage != "" {
		line("kind", "%s", r.Usage)
	}
	line("size", "%d bytes; the gate takes %d at most", r.Size, oidc.MaxTokenSize)
	r.writeTimes(line)
	if len(r.Steps) > 0 {
		b.WriteString("\n" + stepLines(r.Steps))
	}
	b.WriteString(r.advice)
	writeObject(&b, "header", r.Header)
	writeObject(&b, "claims", r.Claims)
	return b.String()
}

func (r *inspectReport) writeIssuer(line func(name, format string, args ...any)) {
	if r.Issuer == "" {
		line("issuer", "none: %s", r.Why)
		return
	}
	line("issuer", "%s: %s", r.Issuer, r.Why)
	if len(r.Policies) == 0 {
		line("policies", "none accepts this issuer with this audience")
		return
	}
	line("policies", "%s; by issuer and audience: what else they want of a request is for 'claimgate check'", strings.Join(r.Policies, ", "))
}

func (r *inspectReport) writeTimes(line func(name, format string, args ...any)) {
	at := func(name string, t time.Time) {
		if !t.IsZero() {
			line(name, "%s, at %s", inspect.Words(t, r.now), t.UTC().Format(time.RFC3339))
		}
	}
	at("issued", r.times.Issued)
	at("not before", r.times.NotBefore)
	if r.times.Expires.Before(r.now) {
		at("expired", r.times.Expires)
	} else {
		at("expires", r.times.Expires)
	}
	if d := r.times.Lifetime(); d > 0 {
		line("lifetime", "%s", inspect.Span(d))
	} else if d < 0 {
		line("lifetime", "none: it expires before it begins")
	}
}

// writeObject writes a JSON object with its members on lines of their own.
func writeObject(b *strings.Builder, title string, object json.RawMessage) {
	if object == nil {
		return
	}
	var out bytes.Buffer
	// Indentation of what is nested without end would be large.
	if nesting(object) > 32 || json.Indent(&out, object, "  ", "  ") != nil {
		out.Reset()
		_ = json.Compact(&out, object) // it is JSON: inspect has read it
	}
	fmt.Fprintf(b, "\n%s\n  %s\n", title, out.Bytes())
}

// nesting is how many lists and objects of a JSON text are open at once, or more.
func nesting(object []byte) int {
	depth, deepest := 0, 0
	for _, c := range object {
		switch c {
		case '{', '[':
			depth++
			deepest = max(deepest, depth)
		case '}', ']':
			depth--
		}
	}
	return deepest
}
