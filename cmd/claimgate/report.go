package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/ask"
	"github.com/claimgate/claimgate/cmd/claimgate/internal/inspect"
	"github.com/claimgate/claimgate/extauthz"
	"github.com/claimgate/claimgate/oidc"
)

// checkReport is what check prints. Its JSON is for scripts: names do not change
// and absent parts are left out.
type checkReport struct {
	Verdict   string       `json:"verdict"` // allow or deny
	Reason    string       `json:"reason"`
	Policy    string       `json:"policy,omitempty"`
	Issuer    string       `json:"issuer,omitempty"` // whose signature was verified
	Status    int          `json:"status"`
	Set       []headerPair `json:"headersSet,omitempty"`
	Remove    []string     `json:"headersRemoved,omitempty"`
	Challenge []string     `json:"challenge,omitempty"`
	Body      string       `json:"body,omitempty"`
	Steps     []reportStep `json:"steps,omitempty"`

	advice string
}

type headerPair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type reportStep struct {
	Name   string `json:"step"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// redactor takes credentials out of a text.
type redactor []string

func (r redactor) clean(s string) string {
	for _, secret := range r {
		s = strings.ReplaceAll(s, secret, "[the token]")
	}
	return s
}

// secrets are the parts of a credential header that could be one. Short words,
// such as schemes, are none.
func secrets(value string) []string {
	const shortest = 16
	var list []string
	for _, part := range strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(" \t,;", r) }) {
		if len(part) >= shortest {
			list = append(list, part)
		}
	}
	return list
}

func newCheckReport(a ask.Answer, steps []oidc.Step, r redactor) checkReport {
	report := checkReport{
		Verdict: "deny", Reason: a.Reason, Policy: a.Policy, Issuer: a.Issuer, Status: a.Status,
		Set: pairs(a.Set, r), Remove: a.Remove, Challenge: a.Challenges(), Body: a.Body,
	}
	if a.Allowed {
		report.Verdict = "allow"
	}
	for _, s := range steps {
		report.Steps = append(report.Steps, reportStep{s.Name, s.OK, r.clean(s.Detail)})
	}
	return report
}

func pairs(headers []extauthz.Header, r redactor) []headerPair {
	var list []headerPair
	for _, h := range headers {
		list = append(list, headerPair{h.Name, r.clean(h.Value)})
	}
	return list
}

func (r checkReport) write(w io.Writer, format string) error {
	return writeReport(w, format, r, r.text)
}

// writeReport writes a report for machines or for people. A terminal is safe from
// either.
func writeReport(w io.Writer, format string, report any, text func() string) error {
	if format != "json" {
		_, err := io.WriteString(w, text())
		return err
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(report); err != nil {
		return err
	}
	_, err := w.Write(inspect.EscapeJSON(b.Bytes()))
	return err
}

// text is the report for people: the verdict first, the steps last.
func (r checkReport) text() string {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-10s %s\n", name, printable(value))
		}
	}
	line(r.Verdict, r.Reason)
	line("policy", r.Policy)
	line("issuer", r.Issuer)
	line("status", fmt.Sprint(r.Status))
	for _, h := range r.Set {
		line("set", h.Name+": "+h.Value)
	}
	for _, name := range r.Remove {
		line("remove", name)
	}
	for _, c := range r.Challenge {
		line("challenge", c)
	}
	line("body", r.Body)
	if len(r.Steps) > 0 {
		b.WriteString("\n")
	}
	b.WriteString(stepLines(r.Steps))
	b.WriteString(r.advice)
	return b.String()
}

// keysAdvice is a line that says where to look if an issuer's keys could not be had,
// "" for any other reason. file is "" if it is not known.
func keysAdvice(reason, file, issuer string) string {
	if reason != string(oidc.KeysUnavailable) {
		return ""
	}
	if file == "" {
		file = "FILE"
	}
	return printable(strings.TrimRight(fmt.Sprintf("why its keys cannot be had: claimgate keys --config %s %s", file, issuer), " ")) + "\n"
}

func stepLines(steps []reportStep) string {
	var b strings.Builder
	for _, s := range steps {
		mark := "✓"
		if !s.OK {
			mark = "✗"
		}
		fmt.Fprintf(&b, "%s %-11s %s\n", mark, s.Name, printable(s.Detail))
	}
	return b.String()
}

// printable replaces control characters and those without a shape: what a token says
// must not steer the terminal, nor mislead its reader.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}
