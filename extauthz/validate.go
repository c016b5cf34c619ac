package extauthz

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/claimgate/claimgate/oidc"
)

// Validate fills in the defaults of a Config built by hand and reports what is
// wrong with it in a [*ConfigError]. A Config that ParseConfig or LoadConfig
// returned has been through it; once more does no harm.
//
// A valid Config makes a gate, unless a file that it names cannot be used.
func (c *Config) Validate() error {
	f := newFaults("")
	c.validate(f)
	return f.err()
}

// validated returns a copy of c that went through Validate and that shares
// nothing with c: neither what a caller left out nor what it does with c later
// can weaken a gate.
func (c *Config) validated() (*Config, error) {
	own := deepCopy(reflect.ValueOf(*c)).Interface().(Config)
	if err := own.Validate(); err != nil {
		return nil, err
	}
	return &own, nil
}

// deepCopy copies what configurations are made of.
func deepCopy(v reflect.Value) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	out.Set(v)
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				out.Field(i).Set(deepCopy(v.Field(i)))
			}
		}
	case reflect.Pointer:
		if !v.IsNil() {
			out.Set(reflect.New(v.Type().Elem()))
			out.Elem().Set(deepCopy(v.Elem()))
		}
	case reflect.Slice:
		if !v.IsNil() {
			out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
			for i := range v.Len() {
				out.Index(i).Set(deepCopy(v.Index(i)))
			}
		}
	case reflect.Map:
		if !v.IsNil() {
			out.Set(reflect.MakeMapWithSize(v.Type(), v.Len()))
			for name, value := range v.Seq2() {
				out.SetMapIndex(name, deepCopy(value))
			}
		}
	default: // immutable
	}
	return out
}

// Warnings returns what is allowed and yet hardly meant, as the last Validate
// found it.
func (c *Config) Warnings() []Problem { return c.warnings }

// validate judges the values; the file's syntax and types are known to be good,
// or f has the problem already.
func (c *Config) validate(f *faults) {
	checkTags(f, "", reflect.ValueOf(c).Elem())
	c.Server.validate(f)
	c.TokenCache.validate(f)
	c.validateAdmin(f)
	c.Tracing.validate(f)
	validateClaimNames(f, "metadata.claims", c.Metadata.Claims)
	validateIssuers(c.Issuers, f)
	c.validateAudiences(f)
	c.validateOpenIssuers(f)
	c.validateHeaders(f)
	c.validatePolicies(f)
	c.fillDefaults()
	c.warnings = c.findWarnings(f)
}

// checkTags holds every field to what its tags and type say: one of a few words,
// never an empty text or list.
func checkTags(f *faults, p fieldPath, v reflect.Value) {
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		name, _, _ := strings.Cut(tag.Get("json"), ",")
		if name == "" {
			continue
		}
		at, value := p.field(name), v.Field(i)
		if !f.broken(at) || !value.IsZero() {
			checkValue(f, at, value, tag)
		}
	}
}

func checkValue(f *faults, p fieldPath, v reflect.Value, tag reflect.StructTag) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			checkValue(f, p, v.Elem(), tag)
		}
	case reflect.Struct:
		checkTags(f, p, v)
	case reflect.Map:
		if !v.IsNil() && v.Len() == 0 && tag.Get("empty") == "" && !f.broken(p) {
			f.add(p, "is empty and would demand nothing: name a claim, or leave the field out")
		}
		if values, ok := v.Interface().(map[string]ClaimValues); ok {
			for _, name := range slices.Sorted(maps.Keys(values)) {
				validateClaimName(f, p.key(name), name)
				checkValue(f, p.key(name), reflect.ValueOf(values[name]), "")
			}
		}
	case reflect.Slice:
		if !v.IsNil() && v.Len() == 0 && tag.Get("empty") == "" && !f.broken(p) {
			f.add(p, "is an empty list: name at least one, or leave the field out")
		}
		for i := range v.Len() {
			checkElement(f, p.index(i), v.Index(i))
		}
	case reflect.String:
		if v.String() == "" {
			if f.given(p) {
				f.add(p, "is empty: give it a value, or leave the field out")
			}
			return
		}
		checkWord(f, p, v.String(), words(tag))
	}
}

func checkElement(f *faults, p fieldPath, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		checkTags(f, p, v)
	case reflect.String:
		if v.String() == "" && !f.broken(p) {
			f.add(p, "is empty: give it a value, or leave it out")
		}
	case reflect.Interface:
		if f.broken(p) {
			return
		}
		if _, err := scalar(v.Interface()); err != nil {
			f.add(p, "%v", err)
		}
	}
}

// words returns the values that a field can have, nil if it can have any. The
// tag is that of the JSON Schema, so that the two agree.
func words(tag reflect.StructTag) []string {
	var list []string
	for option := range strings.SplitSeq(tag.Get("jsonschema"), ",") {
		if word, ok := strings.CutPrefix(option, "enum="); ok {
			list = append(list, word)
		}
	}
	return list
}

func checkWord(f *faults, p fieldPath, s string, words []string) {
	if words == nil || slices.Contains(words, s) {
		return
	}
	if p.isPreset() && slices.Contains(laterPresets, s) {
		f.add(p, notSupportedYet)
		return
	}
	if near := nearest(s, words); near != "" {
		f.add(p, "%s is unknown, did you mean %q?", quote(s), near)
		return
	}
	f.add(p, "%s is unknown: there %s", quote(s), areThese(words))
}

// notSupportedYet refuses what has its place and meaning, and does not work yet.
const notSupportedYet = "not supported yet"

// laterPresets are known to the contract and not built yet.
var laterPresets = []string{"fapi2"}

func (p fieldPath) isPreset() bool { return strings.HasSuffix(string(p), ".preset") }

// checkDuration reports a value outside lo to hi; zero is fine unless the file
// has it.
func checkDuration(f *faults, p fieldPath, d Duration, lo, hi time.Duration) {
	if d == 0 && !f.given(p) || f.broken(p) {
		return
	}
	checkRange(f, p, d, lo, hi)
}

// checkPointedDuration is checkDuration for fields where zero has a meaning.
func checkPointedDuration(f *faults, p fieldPath, d *Duration, lo, hi time.Duration) {
	if d != nil && !f.broken(p) {
		checkRange(f, p, *d, lo, hi)
	}
}

func checkRange(f *faults, p fieldPath, d Duration, lo, hi time.Duration) {
	if time.Duration(d) < lo || time.Duration(d) > hi {
		f.add(p, "must be %s to %s, not %s", Duration(lo), Duration(hi), d)
	}
}

func validateClaimNames(f *faults, p fieldPath, names []string) {
	for i, name := range names {
		if name != "" {
			validateClaimName(f, p.index(i), name)
		}
	}
}

func validateClaimName(f *faults, p fieldPath, name string) {
	if _, err := oidc.ParseClaimName(name); err != nil {
		f.add(p, "%v", err)
	}
}

// findWarnings looks for what is valid and yet hardly meant.
func (c *Config) findWarnings(f *faults) []Problem {
	w := newFaults(f.file)
	w.at = f.at
	for i := range c.Issuers {
		if ic := &c.Issuers[i]; ic.DiscoveryURL != "" && ic.JWKSURL != "" {
			w.add(fieldPath("issuers").index(i).field("discoveryURL"), "is not used: with jwksURL there is no discovery")
		}
		if at := fieldPath("issuers").index(i).field("http"); c.Issuers[i].JWKSFile != "" && f.given(at) {
			w.add(at, "is not used: with jwksFile nothing is fetched")
		}
		if before, _, ok := strings.Cut(c.Issuers[i].Issuer, "/.well-known/"); ok {
			w.add(fieldPath("issuers").index(i).field("issuer"), "looks like the URL of metadata, which belongs in discoveryURL: iss in tokens is rather %s", quote(before))
		}
	}
	c.warnOfProviders(w)
	warnOfTexts(w, "", reflect.ValueOf(c).Elem())
	c.warnOfClaimNames(w)
	c.warnOfUntoldRoutes(w)
	all := -1 // the first policy that fits every request
	for i := range c.Policies {
		p := fieldPath("policies").index(i)
		if all >= 0 {
			w.add(p, "can be chosen by name only: policies[%d] before it matches every request", all)
			continue
		}
		if c.Policies[i].matchesAll() {
			all = i
		}
	}
	return w.sorted()
}

// warnOfTexts looks for what people write for another program to fill in, and for
// spaces that nobody sees.
func warnOfTexts(w *faults, p fieldPath, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for _, f := range fieldsOf(v.Type()) {
			warnOfTexts(w, p.field(f.name), v.Field(f.index))
		}
	case reflect.Slice:
		for i := range v.Len() {
			warnOfTexts(w, p.index(i), v.Index(i))
		}
	case reflect.Map:
		for _, name := range slices.Sorted(maps.Keys(stringKeys(v))) {
			warnOfTexts(w, p.key(name), stringKeys(v)[name])
		}
	case reflect.Interface, reflect.Pointer:
		if !v.IsNil() {
			warnOfTexts(w, p, v.Elem())
		}
	case reflect.String:
		s := v.String()
		if _, rest, ok := strings.Cut(s, "${"); ok && strings.Contains(rest, "}") {
			w.add(p, "is taken as it stands, ${…} too: nothing is expanded in this file")
		}
		if strings.Trim(s, " \t") != s {
			w.add(p, "begins or ends with a space, which counts")
		}
	default: // numbers and the like
	}
}

// stringKeys are the members of a map.
func stringKeys(v reflect.Value) map[string]reflect.Value {
	members := map[string]reflect.Value{}
	for key, value := range v.Seq2() {
		members[key.String()] = value
	}
	return members
}

// warnOfClaimNames looks for names with dots, by which people who come from other
// programs mean a claim inside another.
func (c *Config) warnOfClaimNames(w *faults) {
	warn := func(p fieldPath, name string) {
		if strings.Contains(name, ".") && !strings.ContainsAny(name, "/:@") {
			w.add(p, "is a top-level claim with a dot in its name: a claim inside another is written %s", quote("/"+strings.ReplaceAll(name, ".", "/")))
		}
	}
	list := func(p fieldPath, names []string) {
		for i, name := range names {
			warn(p.index(i), name)
		}
	}
	values := func(p fieldPath, rules map[string]ClaimValues) {
		for _, name := range slices.Sorted(maps.Keys(rules)) {
			warn(p.key(name), name)
		}
	}
	headers := func(p fieldPath, headers map[string]string) {
		for _, name := range slices.Sorted(maps.Keys(headers)) {
			warn(p.key(name), headers[name])
		}
	}
	list("metadata.claims", c.Metadata.Claims)
	headers("headers", c.Headers)
	for i := range c.Issuers {
		ic, p := &c.Issuers[i], fieldPath("issuers").index(i)
		values(p.field("require"), ic.Require)
		m := &ic.ClaimMappings
		list(p.field("claimMappings.subject"), m.Subject)
		list(p.field("claimMappings.client"), m.Client)
		list(p.field("claimMappings.scopes"), m.Scopes)
		list(p.field("claimMappings.roles"), m.Roles)
		list(p.field("claimMappings.tenant"), m.Tenant)
		list(p.field("claimMappings.audience"), m.Audience)
	}
	for i := range c.Policies {
		pc, p := &c.Policies[i], fieldPath("policies").index(i)
		values(p.field("claims"), pc.Claims)
		headers(p.field("headers"), pc.Headers)
	}
}

func (c *PolicyConfig) matchesAll() bool {
	return len(c.Match) == 0 || slices.ContainsFunc(c.Match, func(m MatchConfig) bool {
		return len(m.Hosts) == 0 && len(m.Methods) == 0 && len(m.Paths) == 0 && len(m.Routes) == 0
	})
}

// warnOfUntoldRoutes looks for a policy that opens what one with routes is to guard,
// as soon as a check does not tell its route: from another Envoy, or without
// includeRouteMetadata.
func (c *Config) warnOfUntoldRoutes(w *faults) {
	guard := -1
	for i := range c.Policies {
		pc := &c.Policies[i]
		open := pc.Access == AccessPublic || pc.Access == AccessOptional
		switch {
		case open && guard >= 0 && pc.matchesAll():
			w.add(fieldPath("policies").index(i).field("access"),
				"is for requests of the routes of policies[%d] too, if Envoy does not tell the route: put policies with the routes that are open first, and a strict one last", guard)
			return
		case !open && guard < 0 && slices.ContainsFunc(pc.Match, func(m MatchConfig) bool { return len(m.Routes) > 0 }):
			guard = i
		}
	}
}

// areThese lists what there is to choose from, and not all of a long list.
func areThese(names []string) string {
	const most = 20
	switch n := len(names); {
	case n == 1:
		return "is " + names[0]
	case n > most:
		return fmt.Sprintf("are %s and %d more", strings.Join(names[:most], ", "), n-most)
	default:
		return "are " + strings.Join(names, ", ")
	}
}

// policyLabel names a policy in messages about another field.
func policyLabel(i int, name string) string {
	if name == "" {
		return fmt.Sprintf("policies[%d]", i)
	}
	return fmt.Sprintf("policies[%d] (%s)", i, name)
}
