package oidc

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// verifyFresh takes the steps of spec order: all that can be refused cheaply is
// refused before any key is looked at, so that no junk causes a fetch or a
// signature check. The first failure is the reason.
func (v *Validator) verifyFresh(ctx context.Context, token string, key digest, now time.Time, req Requirement) (*Token, *verification, *Error) {
	ex := explainer(req.Explain)
	room := v.store.newRoom()
	defer v.store.giveBack(room)
	c, err := parseCompact(token, room, ex)
	if err != nil {
		return nil, nil, err
	}
	from, err := v.issuerOf(c.claims)
	if err != nil {
		return nil, nil, ex.fail("issuer", err)
	}
	iss := from.issuer
	if err := iss.accepted(req); err != nil {
		return nil, nil, ex.fail("issuer", err)
	}
	switch {
	case ex == nil:
	case iss.templates != nil:
		ex.ok("issuer", "iss is %q, tenant %q of the issuer configured as %s", from.id, from.tenant, iss.name)
	default:
		ex.ok("issuer", "iss is %q, configured as %s", iss.id, iss.name)
	}

	tok, err := from.readToken(c, now, req, ex)
	if err != nil {
		err.IssuerName = iss.name
		return nil, nil, err
	}

	var explainKeys func(string)
	if ex != nil {
		explainKeys = func(detail string) { ex.ok("key", "%s", detail) }
	}
	hint := from.keyHint(c)
	hint.token, hint.issuer = key, iss
	keys, generation, reason, cause := from.verify(ctx, hint, c.verifiedBy, explainKeys)
	if reason != "" {
		step := "key"
		if reason == BadSignature {
			step = "signature"
			cause = c.header.orForGraph(cause)
		}
		return nil, nil, ex.fail(step, &Error{Reason: reason, IssuerName: iss.name, Err: cause})
	}
	if ex != nil {
		ex.ok("signature", "%s, good", c.header.alg)
	}
	return tok, keys.verification(verification{iss, keys, generation, v.epoch}), nil
}

// issuerOf finds the issuer by iss alone, byte for byte (RFC 7519 section
// 4.1.1). Keys live under the issuer, so another issuer's key cannot help. Only
// a token without iss can belong to the trust domain of its sub: a JWT-SVID
// (JWT-SVID section 3) need not have one.
func (v *Validator) issuerOf(c Claims) (sender, *Error) {
	iss, ok := c.Top("iss")
	if !ok {
		if sub, _ := c.Top("sub"); sub.Kind() == KindString && len(v.byDomain) > 0 {
			domain, err := spiffeTrustDomain(sub.Text())
			if found := v.byDomain[domain]; err == nil && found != nil {
				return sender{issuer: found, id: found.id}, nil
			}
			return sender{}, &Error{Reason: UnknownIssuer, Claim: "iss", Err: errors.New("missing, and no configured issuer is the trust domain of sub")}
		}
	}
	if !ok || iss.Kind() != KindString {
		return sender{}, &Error{Reason: UnknownIssuer, Claim: "iss", Err: errors.New("missing, or not a string")}
	}
	text := iss.Text()
	if found := v.byIss[text]; found != nil && text != "" {
		return sender{issuer: found, id: found.id}, nil
	}
	for _, iss := range v.templated {
		for _, t := range iss.templates {
			tenant, ok := t.Tenant(text)
			if !ok {
				continue
			}
			if !iss.tenantRule.accepts(tenant) {
				return sender{}, &Error{Reason: UnknownIssuer, Claim: "iss", Err: fmt.Errorf("the tenant is none of those that issuer %s accepts", iss.name)}
			}
			return sender{iss, iss.templates[0].Fill(tenant), tenant}, nil
		}
	}
	return sender{}, &Error{Reason: UnknownIssuer, Claim: "iss", Err: errors.New("no configured issuer has exactly this identifier")}
}

// sender is whom a token claims to be from.
type sender struct {
	*issuer
	id     string // the issuer's identifier, or that of its tenant
	tenant string // "" without tenants
}

// verify compares a token's signature with the keys of its sender, and returns
// these.
func (from sender) verify(ctx context.Context, hint keyHint, try func(crypto.PublicKey) bool, explain func(string)) (*issuerKeys, uint64, Reason, error) {
	if from.tenants != nil {
		return from.tenants.verify(ctx, from.tenant, hint, try, explain)
	}
	generation, reason, err := from.keys.verify(ctx, hint, try, explain)
	return from.keys, generation, reason, err
}

// keyHint says which of the sender's keys a token can be signed with.
func (from sender) keyHint(c compact) keyHint {
	h := keyHint{alg: c.header.alg, kid: c.header.kid, hasKID: c.header.hasKID, uses: from.rules.KeyUses, issuers: from.ids}
	for _, t := range from.templates {
		h.issuers = append(h.issuers, t.Fill(from.tenant)) // ids is nil then
	}
	if tid, ok := c.claims.Top("tid"); ok && tid.Kind() == KindString {
		h.tenantID = tid.Text()
	}
	return h
}

// orForGraph adds to a cause what is likely behind it. Entra puts a nonce into
// the header of tokens for Microsoft Graph, whose signature only Graph can check.
func (h header) orForGraph(cause error) error {
	if !h.hasNonce {
		return cause
	}
	return fmt.Errorf("%w; the header has a nonce, so this is a token for Microsoft Graph, which nobody else can verify: ask for a token with a scope of your own API", cause)
}

func (iss *issuer) accepted(req Requirement) *Error {
	if req.Issuers != nil && !slices.Contains(req.Issuers, iss.name) {
		return &Error{Reason: IssuerNotAccepted, IssuerName: iss.name, Err: errors.New("the policy does not accept tokens of this issuer")}
	}
	return nil
}

// readToken takes all the steps between the issuer and the key.
func (from sender) readToken(c compact, now time.Time, req Requirement, ex explainer) (*Token, *Error) {
	iss := from.issuer
	if iss.algorithms&c.header.alg.bit() == 0 {
		return nil, ex.fail("algorithm", &Error{Reason: UnsupportedAlgorithm, Claim: "alg", Err: errors.New("not among the algorithms of this issuer")})
	}
	if ex != nil {
		ex.ok("algorithm", "%s is accepted from this issuer", c.header.alg)
	}
	if err := iss.checkType(c); err != nil {
		return nil, ex.fail("type", err)
	}
	if ex != nil {
		ex.ok("type", "an access token, of accepted types %s", strings.Join(iss.tokenTypes, ", "))
	}

	tok := &Token{Issuer: from.id, IssuerName: iss.name, Claims: c.claims.unindexed()}
	tok.Type = strings.Clone(c.header.typ) // a part would keep the whole header
	times, err := iss.readClaims(c.claims, tok)
	if err == nil && iss.templates != nil {
		err = from.checkTenant(c.claims)
		tok.Tenant = from.tenant
	}
	if err != nil {
		return nil, ex.fail("claim types", err)
	}
	if ex != nil {
		ex.ok("claim types", "sub %q, client %q, scopes %q, roles %q", tok.Subject, tok.ClientID, tok.Scopes, tok.Roles)
	}
	if err := times.check(now, iss.leeway, iss.maxLifetime); err != nil {
		return nil, ex.fail("time", err)
	}
	if ex != nil {
		ex.ok("time", "expires %s, in %s; leeway %s", tok.Expiry.UTC().Format(time.RFC3339), tok.Expiry.Sub(now).Round(time.Second), iss.leeway)
	}
	if err := iss.checkAudience(tok.Audience, req); err != nil {
		err.Claim = iss.audienceClaim(c.claims)
		err.Err = c.header.orForGraph(err.Err)
		return nil, ex.fail("audience", err)
	}
	if ex != nil {
		ex.ok("audience", "%s %q, accepted %q", iss.audienceClaim(c.claims), tok.Audience, iss.acceptedAudiences(req))
	}
	return tok, nil
}

// checkTenant holds a token of Microsoft Entra ID to name its tenant twice: the
// keys are the same for all tenants, so that only the claims tell them apart.
func (from sender) checkTenant(c Claims) *Error {
	if from.templates[0].form != tenantGUID {
		return nil
	}
	if tid, ok := c.Top("tid"); !ok || tid.Kind() != KindString || tid.Text() != from.tenant {
		return invalidClaim("tid", "not the tenant of iss")
	}
	return nil
}

// canonicalType makes typ values comparable: RFC 7515 section 4.1.9 allows to
// leave "application/" out, and media types have no case.
func canonicalType(typ string) string {
	return strings.TrimPrefix(strings.ToLower(typ), "application/")
}

// Marks of what is no access token (RFC 8725 section 3.11, RFC 9068 section 4).
var (
	idTokenMarks    = [...]string{"nonce", "at_hash", "c_hash"}
	otherTokenMarks = [...]string{"events", "htm"}
)

func (iss *issuer) checkType(c compact) *Error {
	refuse := func(claim, why string) *Error {
		return &Error{Reason: WrongTokenType, Claim: claim, Err: errors.New(why)}
	}
	typ := tokenTypeNone
	if c.header.hasTyp {
		typ = canonicalType(c.header.typ)
		if typ == tokenTypeNone { // the word is ours, not a media type
			return refuse("typ", "not an accepted token type")
		}
	}
	if !slices.Contains(iss.tokenTypes, typ) {
		return refuse("typ", "not an accepted token type")
	}
	for _, mark := range otherTokenMarks {
		if _, ok := c.claims.Top(mark); ok {
			return refuse(mark, "the mark of a token of another kind")
		}
	}
	payloadType, _ := c.claims.Top("typ")
	kind := strings.ToLower(payloadType.Text())
	if kind == "refresh" || kind == "offline" || kind == "logout" {
		return refuse("typ", "the mark of a token of another kind, in the claims")
	}
	tokenUse, _ := c.claims.Top("token_use")
	isID := kind == "id" || tokenUse.Text() == "id"
	if !iss.idTokens {
		for _, mark := range idTokenMarks {
			if _, ok := c.claims.Top(mark); ok {
				return refuse(mark, "the mark of an ID token")
			}
		}
		if tokenUse.Text() == "id" {
			return refuse("token_use", "the mark of an ID token")
		}
		if isID {
			return refuse("typ", "the mark of an ID token, in the claims")
		}
	}
	if claim := iss.rules.KindClaim; claim != "" && !isID {
		if v, _ := c.claims.Top(claim); v.Kind() != KindString || !slices.Contains(iss.rules.KindValues, v.Text()) {
			return refuse(claim, "the claim "+claim+" is not "+strings.Join(iss.rules.KindValues, " or "))
		}
	}
	return nil
}

// tokenTimes are the NumericDates of a token, in seconds (RFC 7519 section 2).
// A fraction is rounded so that the token is valid for less.
type tokenTimes struct {
	exp, nbf, iat  int64
	hasNBF, hasIAT bool
	issued         int64   // iat, rounded down
	lifetime       float64 // exp - iat without rounding; if hasIAT
}

// endOfTime is the first second of the year 10000.
const endOfTime = 253402300800

// readTimes reads the times of a token. Without exp it lasts for ever, if it may.
func readTimes(c Claims, lasting bool) (tokenTimes, *Error) {
	var times tokenTimes
	exp, hasEXP, err := numericDate(c, "exp")
	if err != nil {
		return times, err
	}
	if !hasEXP && lasting {
		exp = endOfTime
	} else if exp == 0 {
		return times, invalidClaim("exp", "missing or zero")
	}
	nbf, hasNBF, err := numericDate(c, "nbf")
	if err != nil {
		return times, err
	}
	iat, hasIAT, err := numericDate(c, "iat")
	if err != nil {
		return times, err
	}
	return tokenTimes{
		exp: int64(math.Floor(exp)), nbf: int64(math.Ceil(nbf)), iat: int64(math.Ceil(iat)),
		hasNBF: hasNBF, hasIAT: hasIAT, issued: int64(iat), lifetime: exp - iat,
	}, nil
}

// readClaims fills tok from the claims and returns the times.
func (iss *issuer) readClaims(c Claims, tok *Token) (tokenTimes, *Error) {
	times, err := readTimes(c, false)
	if err != nil {
		return times, err
	}
	tok.Expiry = time.Unix(times.exp, 0)
	if times.hasIAT {
		tok.IssuedAt = time.Unix(times.issued, 0)
	}
	for _, name := range [...]string{"sub", "client_id", "azp", "jti"} {
		if v, ok := c.Top(name); ok && v.Kind() != KindString {
			return times, invalidClaim(name, "not a string")
		}
	}
	if v, ok := c.Top("jti"); ok {
		tok.ID = v.Text()
	}
	if tok.Audience, err = iss.audience(c); err != nil {
		return times, err
	}
	for _, field := range [...]struct {
		from []ClaimName
		to   *string
	}{
		{iss.mappings.Subject, &tok.Subject},
		{iss.mappings.Client, &tok.ClientID},
		{iss.mappings.Tenant, &tok.Tenant},
	} {
		v, name, ok := firstPresent(c, field.from)
		switch {
		case ok && name == "aud": // a string or a list by itself; only one can be meant
			if len(tok.Audience) == 1 {
				*field.to = tok.Audience[0]
			}
		case ok && v.Kind() != KindString:
			return times, invalidClaim(name, "not a string")
		default:
			*field.to = v.Text()
		}
	}
	if v, name, ok := firstPresent(c, iss.mappings.Scopes); ok {
		if tok.Scopes, ok = scopes(v); !ok {
			return times, invalidClaim(name, "neither a string nor a list of strings, or not in the alphabet of scopes")
		}
	}
	if v, name, ok := firstPresent(c, iss.mappings.Roles); ok {
		if iss.mappings.RoleObjects && v.Kind() == KindObject {
			for member := range v.Members() {
				tok.Roles = append(tok.Roles, member)
			}
		} else if tok.Roles, ok = stringOrStrings(v); !ok {
			return times, invalidClaim(name, "neither a string nor a list of strings")
		}
	}
	if v, ok := c.Top("cnf"); ok {
		if v.Kind() != KindObject {
			return times, invalidClaim("cnf", "not an object")
		}
		tok.bound = true
	}
	for _, name := range iss.rules.Required {
		if _, ok := c.Top(name); !ok {
			return times, invalidClaim(name, "missing")
		}
	}
	if iss.rules.TrustDomain {
		sub, _ := c.Top("sub") // whatever claim is mapped to the subject
		if domain, err := spiffeTrustDomain(sub.Text()); err != nil {
			return times, &Error{Reason: InvalidClaim, Claim: "sub", Err: err}
		} else if !slices.Contains(iss.trustDomains, domain) {
			return times, invalidClaim("sub", "of another trust domain than the issuer's")
		}
	}
	for _, rule := range iss.require {
		if !rule.Matches(c) {
			return times, invalidClaim(rule.Name.String(), "not a value that this issuer's configuration requires")
		}
	}
	return times, nil
}

func invalidClaim(name, why string) *Error {
	return &Error{Reason: InvalidClaim, Claim: name, Err: errors.New(why)}
}

// numericDate reads a time, false if it is absent. Bounds first: beyond them,
// arithmetic on it would not be safe.
func numericDate(c Claims, name string) (float64, bool, *Error) {
	v, ok := c.Top(name)
	if !ok {
		return 0, false, nil
	}
	f, ok := v.Float64()
	if !ok || f < 0 || f >= endOfTime {
		return 0, false, invalidClaim(name, "not a number from 0 to the year 9999")
	}
	return f, true, nil
}

func (t tokenTimes) check(now time.Time, leeway, maxLifetime time.Duration) *Error {
	// Whole seconds, as in the token; all values are small, nothing overflows.
	switch exp := time.Unix(t.exp, 0); {
	case !now.Before(exp.Add(leeway)):
		return &Error{Reason: Expired, Claim: "exp", Err: fmt.Errorf("expired at %s", exp.UTC().Format(time.RFC3339))}
	case t.hasNBF && now.Before(time.Unix(t.nbf, 0).Add(-leeway)):
		return &Error{Reason: NotYetValid, Claim: "nbf"}
	case t.hasIAT && now.Before(time.Unix(t.iat, 0).Add(-leeway)):
		return &Error{Reason: NotYetValid, Claim: "iat"}
	case maxLifetime <= 0:
		return nil
	case !t.hasIAT:
		return invalidClaim("iat", "missing, and this issuer's configuration bounds the lifetime")
	case t.lifetime > maxLifetime.Seconds():
		return invalidClaim("exp", "the token lives longer than this issuer's configuration allows")
	}
	return nil
}

// audience reads aud, a string or a list of strings (RFC 7519 section 4.1.3), or
// the claim that stands for it.
func (iss *issuer) audience(c Claims) ([]string, *Error) {
	name := "aud"
	v, ok := c.Top("aud")
	if !ok {
		if iss.rules.AudRequired {
			return nil, nil
		}
		if v, name, ok = firstPresent(c, iss.mappings.Audience); !ok {
			return nil, nil
		}
	}
	list, ok := stringOrStrings(v)
	if !ok {
		return nil, invalidClaim(name, "neither a string nor a list of strings")
	}
	return list, nil
}

// audienceClaim names the claim that audience reads.
func (iss *issuer) audienceClaim(c Claims) string {
	if _, ok := c.Top("aud"); !ok && !iss.rules.AudRequired {
		if _, name, ok := firstPresent(c, iss.mappings.Audience); ok {
			return name
		}
	}
	return "aud"
}

// acceptedAudiences returns the audiences of which a token must have one, nil if
// any will do.
func (iss *issuer) acceptedAudiences(req Requirement) []string {
	if req.Audiences != nil {
		return req.Audiences
	}
	return iss.audiences
}

func (iss *issuer) checkAudience(aud []string, req Requirement) *Error {
	accepted := iss.acceptedAudiences(req)
	if len(aud) == 0 && (iss.rules.AudRequired || !iss.anyAudience || req.Audiences != nil) {
		return &Error{Reason: WrongAudience, Claim: "aud", IssuerName: iss.name, Err: errors.New("missing: the token says nowhere whom it is for")}
	}
	if req.Audiences == nil && iss.anyAudience {
		return nil
	}
	for _, a := range aud {
		if slices.Contains(accepted, a) {
			return nil
		}
	}
	return &Error{Reason: WrongAudience, Claim: "aud", IssuerName: iss.name, Err: errors.New("no accepted audience")}
}

// firstPresent returns the first of the claims that is present.
func firstPresent(c Claims, names []ClaimName) (Value, string, bool) {
	for _, n := range names {
		if v, ok := c.Get(n); ok {
			return v, n.text, true
		}
	}
	return Value{}, "", false
}

func stringOrStrings(v Value) ([]string, bool) {
	if v.Kind() == KindString {
		return []string{v.Text()}, true
	}
	return v.Strings()
}

// scopes reads a scope claim: a string of scopes, or a list of them.
func scopes(v Value) ([]string, bool) {
	var list []string
	if v.Kind() == KindString {
		for s := range strings.SplitSeq(v.Text(), " ") {
			if s != "" {
				list = append(list, s)
			}
		}
	} else {
		var ok bool
		if list, ok = v.Strings(); !ok {
			return nil, false
		}
	}
	for _, s := range list {
		if !ValidScope(s) {
			return nil, false
		}
	}
	return list, true
}

// ValidScope reports whether s is a scope-token (RFC 6749 section 3.3).
func ValidScope(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x21 || c == '"' || c == '\\' || c > 0x7e {
			return false
		}
	}
	return s != ""
}
