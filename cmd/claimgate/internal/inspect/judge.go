package inspect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/claimgate/claimgate/extauthz"
	"github.com/claimgate/claimgate/oidc"
)

// Judgement is what a configuration's issuers make of a token.
type Judgement struct {
	// Reason is [oidc.ValidToken], or the first check's that does not hold: what a
	// gate would answer, but for its policies.
	Reason oidc.Reason
	// Unverified tells that nothing was to be fetched, so that the signature was not
	// looked at.
	Unverified bool

	Issuer string // short name of the issuer that the token goes to, "" if there is none
	Why    string // why it goes there, or to none
	// Policies are those that accept the issuer and the audience; they may want more.
	Policies []string
	// Steps are the checks in their order, those after the first refusal too.
	Steps []oidc.Step
}

// Options say how a token is judged. The zero Options fetch keys and take the time
// from the machine.
type Options struct {
	Offline bool // fetch nothing: then the signature is not checked
	Now     func() time.Time
}

// Judge has the validator of the configuration look at a token, as the gate would
// before its policies. The token goes nowhere: requests are for metadata and key sets
// alone. After a refusal it has the validator look again, with the rule that refused
// taken away, so that the checks behind it have a verdict too; they never change
// Reason.
func Judge(ctx context.Context, cfg *extauthz.Config, r Reading, o Options) (Judgement, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	issuers, err := cfg.ValidatorIssuers()
	if err != nil {
		return Judgement{}, err
	}
	iss, hasISS := issuerOf(r)
	for i := range issuers {
		issuers[i].Keys.SnapshotFile = "" // that is the gate's to write
	}
	j := Judgement{}
	j.Issuer, j.Why = destination(issuers, iss, hasISS, text(members(r.Claims), "sub"))
	look := look{issuers: issuers, offline: o.Offline, now: o.Now}
	look.requirement.Audiences = acceptedAudiences(cfg, j.Issuer)
	if j.Issuer != "" {
		j.Policies = policiesFor(cfg, j.Issuer, audienceOf(r, issuers))
	}
	for {
		steps, refusal, err := look.once(ctx, r.Token)
		if err != nil {
			return Judgement{}, err
		}
		j.Steps = append(j.Steps, newSteps(j.Steps, steps)...)
		if last := &j.Steps[len(j.Steps)-1]; last.Name == "audience" && !last.OK {
			last.Detail += fmt.Sprintf("; the token has %q, accepted is %q", audienceOf(r, issuers), look.requirement.Audiences)
		}
		reason := reasonOf(refusal)
		if o.Offline && reason == oidc.KeysUnavailable { // not found out, rather than refused
			j.Steps = slices.DeleteFunc(j.Steps, func(s oidc.Step) bool { return s.Name == "key" })
			j.Unverified = true
			reason = oidc.ValidToken
		}
		if j.Reason == "" {
			j.Reason = reason
		}
		if j.Unverified {
			return j, nil
		}
		if refusal == nil || !look.relax(steps, refusal, r) {
			return j, nil
		}
	}
}

func reasonOf(refusal *oidc.Error) oidc.Reason {
	if refusal == nil {
		return oidc.ValidToken
	}
	return refusal.Reason
}

// look is a validation with rules that can be taken away.
type look struct {
	issuers     []oidc.IssuerConfig
	requirement oidc.Requirement
	offline     bool
	now         func() time.Time
	shift       time.Duration // of the clock
	relaxed     []string      // steps whose rules are gone
}

// once validates the token. The refusal is nil if every rule that is left holds.
func (l *look) once(ctx context.Context, token string) ([]oidc.Step, *oidc.Error, error) {
	v, err := oidc.NewValidator(oidc.Config{
		Issuers: l.issuers,
		Clock:   func() time.Time { return l.now().Add(l.shift) },
	})
	if err != nil {
		return nil, nil, err
	}
	defer v.Close()
	if l.offline {
		v.Close() // from here on nothing can be fetched
	}
	var steps []oidc.Step
	requirement := l.requirement
	requirement.Explain = func(s oidc.Step) { steps = append(steps, s) }
	_, err = v.Validate(ctx, token, requirement)
	var refusal *oidc.Error
	if err != nil && !errors.As(err, &refusal) {
		return nil, nil, err
	}
	return steps, refusal, nil
}

// newSteps are those of another look that come after the step at which the look
// before it ended.
func newSteps(before, now []oidc.Step) []oidc.Step {
	if len(before) == 0 {
		return now
	}
	last := before[len(before)-1].Name
	for i, s := range now {
		if s.Name == last {
			return now[i+1:]
		}
	}
	return nil
}

// relax takes away the rule that refused, and reports whether it could. Each step's
// rules are taken away once at most.
func (l *look) relax(steps []oidc.Step, refusal *oidc.Error, r Reading) bool {
	step := steps[len(steps)-1].Name
	if slices.Contains(l.relaxed, step) {
		return false
	}
	l.relaxed = append(l.relaxed, step)
	each := func(change func(*oidc.IssuerConfig)) bool {
		for i := range l.issuers {
			change(&l.issuers[i])
		}
		return true
	}
	switch step {
	case "algorithm":
		return each(func(c *oidc.IssuerConfig) { c.Algorithms = nil })
	case "type":
		if slices.ContainsFunc(l.issuers, func(c oidc.IssuerConfig) bool { rules, _ := c.Preset.Rules(); return rules.TokenTypesFixed }) {
			return false
		}
		typ := text(members(r.Header), "typ")
		if typ == "" {
			typ = "none"
		}
		return each(func(c *oidc.IssuerConfig) { c.TokenTypes, c.IDTokens = []string{typ}, true })
	case "claim types":
		return each(func(c *oidc.IssuerConfig) { c.Require = nil })
	case "time":
		return l.relaxTime(refusal, r.Times) || each(func(c *oidc.IssuerConfig) { c.MaxLifetime = 0 })
	case "audience":
		l.requirement.Audiences = audienceOf(r, l.issuers)
		if len(l.requirement.Audiences) > 0 {
			return true
		}
		l.requirement.Audiences = nil
		return each(func(c *oidc.IssuerConfig) { c.Audiences, c.AnyAudience = nil, true })
	default: // the form of the token, its issuer and its key cannot be otherwise
		return false
	}
}

// relaxTime sets the clock to a moment at which the token is good.
func (l *look) relaxTime(refusal *oidc.Error, t Times) bool {
	var to time.Time
	switch refusal.Reason {
	case oidc.Expired:
		to = t.Expires.Add(-time.Second)
	case oidc.NotYetValid:
		to = t.Issued
		if t.NotBefore.After(to) {
			to = t.NotBefore
		}
		to = to.Add(time.Second)
	default:
		return false
	}
	l.shift = to.Sub(l.now())
	return true
}

// issuerOf is the claim iss, false if there is none that is a text.
func issuerOf(r Reading) (string, bool) {
	m := members(r.Claims)
	iss := text(m, "iss")
	return iss, iss != ""
}

// audienceOf is the claim aud, or without it the one that the token's issuer has in its
// place: a text or a list of texts.
func audienceOf(r Reading, issuers []oidc.IssuerConfig) []string {
	m := members(r.Claims)
	names := []string{"aud"}
	if _, ok := m["aud"]; !ok {
		iss, hasISS := issuerOf(r)
		name, _ := destination(issuers, iss, hasISS, text(m, "sub"))
		for _, c := range issuers {
			if c.Name != name {
				continue
			}
			rules, _ := c.Preset.Rules()
			mapped := c.Mappings.Audience
			if mapped == nil {
				mapped = rules.Mappings.Audience
			}
			for _, n := range mapped {
				names = append(names, n.String())
			}
		}
	}
	for _, n := range names {
		if one := text(m, n); one != "" {
			return []string{one}
		}
		if list := texts(m[n]); list != nil {
			return list
		}
	}
	return nil
}

// destination says which configured issuer a token goes to and why: the one that has
// its iss among its identifiers, byte for byte. If there is none, it looks for one that
// is nearly so.
func destination(issuers []oidc.IssuerConfig, iss string, hasISS bool, sub string) (name, why string) {
	if !hasISS {
		return withoutISS(issuers, sub)
	}
	for i, c := range issuers {
		if c.Issuer == iss {
			return c.Name, fmt.Sprintf("iss is exactly issuers[%d].issuer", i)
		}
		if n := slices.Index(c.Aliases, iss); n >= 0 {
			return c.Name, fmt.Sprintf("iss is exactly issuers[%d].aliases[%d]", i, n)
		}
		if slices.Contains(c.Preset.Identifiers(c.Issuer, c.Aliases), iss) {
			return c.Name, fmt.Sprintf("iss is another spelling of issuers[%d].issuer, by its preset %s", i, c.Preset)
		}
	}
	for i, c := range issuers {
		for _, id := range append([]string{c.Issuer}, c.Aliases...) {
			if difference := nearly(id, iss); difference != "" {
				return "", fmt.Sprintf("no configured issuer is exactly %q; nearest is issuers[%d], %q: %s. Write it as in the token, or add it to its aliases", iss, i, id, difference)
			}
		}
	}
	return "", fmt.Sprintf("no configured issuer is exactly %q", iss)
}

// withoutISS is for SPIFFE's tokens, which need no iss: there the trust domain of sub
// says where a token is from.
func withoutISS(issuers []oidc.IssuerConfig, sub string) (name, why string) {
	rest, isID := strings.CutPrefix(sub, "spiffe://")
	domain, _, _ := strings.Cut(rest, "/")
	for i, c := range issuers {
		rules, _ := c.Preset.Rules()
		if !isID || !rules.TrustDomain {
			continue
		}
		for _, id := range c.Preset.Identifiers(c.Issuer, c.Aliases) {
			if d, ok := oidc.TrustDomain(id); ok && d == domain {
				return c.Name, fmt.Sprintf("there is no iss, and sub is in the trust domain of issuers[%d]", i)
			}
		}
	}
	return "", "the token has no iss, or one that is no text: no issuer can be found for it"
}

// nearly says in what two identifiers differ that are probably meant to be one, ""
// if they are rather two.
func nearly(configured, iss string) string {
	bare := func(s string) string {
		_, rest, ok := strings.Cut(s, "://")
		if !ok {
			return s
		}
		return rest
	}
	switch {
	case iss == configured+"/":
		return "the token's has a / at its end, and the configured one has not"
	case iss+"/" == configured:
		return "the configured one has a / at its end, and the token's has not"
	case strings.EqualFold(iss, configured):
		return "they differ in upper and lower case"
	case bare(iss) == bare(configured):
		return "they differ in the scheme (http, https or none)"
	}
	return ""
}

// acceptedAudiences are those that some policy would accept from an issuer, nil if
// any will do or no policy says.
func acceptedAudiences(cfg *extauthz.Config, issuer string) []string {
	var list []string
	for i := range cfg.Policies {
		p := &cfg.Policies[i]
		if !accepts(p, issuer) {
			continue
		}
		accepted, limited := audiencesUnder(cfg, p, issuer)
		if !limited {
			return nil
		}
		list = append(list, accepted...)
	}
	return list
}

// policiesFor names the policies that accept an issuer with one of these audiences.
func policiesFor(cfg *extauthz.Config, issuer string, audience []string) []string {
	var names []string
	for i := range cfg.Policies {
		p := &cfg.Policies[i]
		if !accepts(p, issuer) {
			continue
		}
		accepted, limited := audiencesUnder(cfg, p, issuer)
		if !limited || slices.ContainsFunc(audience, func(a string) bool { return slices.Contains(accepted, a) }) {
			names = append(names, p.Name)
		}
	}
	return names
}

func accepts(p *extauthz.PolicyConfig, issuer string) bool {
	return p.Access != extauthz.AccessPublic && p.Access != extauthz.AccessDeny &&
		(p.Issuers == nil || slices.Contains(p.Issuers, issuer))
}

// audiencesUnder are the policy's, or else the issuer's; limited is false if any will
// do.
func audiencesUnder(cfg *extauthz.Config, p *extauthz.PolicyConfig, issuer string) (accepted []string, limited bool) {
	if len(p.Audiences) > 0 {
		return p.Audiences, true
	}
	for i := range cfg.Issuers {
		if c := &cfg.Issuers[i]; c.Name == issuer {
			return c.Audiences, !c.AnyAudience
		}
	}
	return nil, true
}
