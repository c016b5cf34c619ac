package extauthz

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/claimgate/claimgate/oidc"
)

// The decision, written a second time: slow, obvious, with the standard library
// alone and without a cache. TestTheGateAgreesWithTheReference compares the two.

const referenceConfig = `
issuers:
- {issuer: $shop, name: shop, audiences: [api]}
- {issuer: $partner, name: partner, audiences: [api], maxLifetime: 10m}
headers: {x-auth-issuer: "@issuer", x-auth-subject: "@subject", x-auth-scopes: "@scopes", x-tier: tier}
policies:
- {name: admin, match: [{paths: [/admin/**]}, {paths: ["/users/*/keys"], methods: [GET, POST]}], scopes: [admin]}
- {name: deny, match: [{hosts: [internal.example.com]}], access: deny}
- {name: public, match: [{paths: [/public/**]}], access: public}
- {name: open, match: [{paths: ["/open/*"]}], access: optional}
- {name: partner, match: [{paths: [/partner]}], issuers: [partner], audiences: [api, other], roles: [ops]}
- {name: places, match: [{paths: [/places]}], tokenFrom: [{header: authorization, scheme: Bearer}, {cookie: s}, {query: t}]}
- {name: routed, match: [{routes: [HTTPRoute/shop/a, GRPCRoute/shop/a], methods: [POST]}], access: optional}
- {name: all, match: [{hosts: ["*.example.com"]}], claims: {tier: [gold, 1]}}
`

type refPolicy struct {
	name, access       string
	hosts, paths       string // regular expressions over the host, and over method and path; "" fits all
	routes             string // and over method and route
	issuers, audiences []string
	scopes, roles      []string
	tier, places       bool
}

var refPolicies = []refPolicy{
	{name: "admin", paths: `^[A-Z0-9-]+ /admin(/.*)?$|^(GET|POST) /users/[^/]+/keys$`, scopes: []string{"admin"}},
	{name: "deny", hosts: `^internal\.example\.com$`, access: "deny"},
	{name: "public", paths: `^\S+ /public(/.*)?$`, access: "public"},
	{name: "open", paths: `^\S+ /open/[^/]+$`, access: "optional"},
	{name: "partner", paths: `^\S+ /partner$`, issuers: []string{"partner"}, audiences: []string{"api", "other"}, roles: []string{"ops"}},
	{name: "places", paths: `^\S+ /places$`, places: true},
	{name: "routed", routes: `^POST (HTTPRoute|GRPCRoute)/shop/a$`, access: "optional"},
	{name: "all", hosts: `^([^.]+\.)+example\.com$`, tier: true},
}

type reference struct {
	issuers map[string]string                      // iss to name
	keys    map[string]map[string]*ecdsa.PublicKey // name to kid to key
	now     float64
}

// decide returns the reason, the policy and the identity headers that are set.
func (ref *reference) decide(r *Request, sent rawHeaders) (reason, policy string, set map[string]string) {
	host := strings.ToLower(regexp.MustCompile(`:[0-9]+$`).ReplaceAllString(r.Host, ""))
	host = strings.TrimSuffix(host, ".")
	if !regexp.MustCompile(`^([A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?$`).MatchString(r.Host) || host == "" ||
		!regexp.MustCompile(`^[A-Z0-9-]+$`).MatchString(r.Method) {
		return "no_policy", "", nil
	}
	path, ambiguous := refPath(r.Path)
	for _, p := range refPolicies {
		if p.hosts != "" && !regexp.MustCompile(p.hosts).MatchString(host) {
			continue
		}
		if p.routes != "" && !slices.ContainsFunc(r.Routes, func(route Route) bool {
			return regexp.MustCompile(p.routes).MatchString(r.Method + " " + route.String())
		}) {
			continue
		}
		if p.paths != "" && r.Path != "" && ambiguous {
			return "ambiguous_path", p.name, nil
		}
		if p.paths != "" && (r.Path == "" || !regexp.MustCompile(p.paths).MatchString(r.Method+" "+path)) {
			continue
		}
		reason, claims, issuer := ref.check(p, r, sent)
		set = map[string]string{}
		if claims != nil {
			set = refIdentity(claims, issuer)
		}
		return reason, p.name, set
	}
	return "no_policy", "", nil
}

func refPath(target string) (path string, ambiguous bool) {
	path, _, _ = strings.Cut(target, "?")
	if path == "*" {
		return path, false
	}
	path = regexp.MustCompile(`%[0-9A-Fa-f]{2}`).ReplaceAllStringFunc(path, func(s string) string {
		c, _ := strconv.ParseUint(s[1:], 16, 8)
		if regexp.MustCompile(`^[A-Za-z0-9._~-]$`).MatchString(string(rune(c))) {
			return string(rune(c))
		}
		return strings.ToUpper(s)
	})
	odd := regexp.MustCompile(`[^\x20-\x7e]|[\\#;]|%(2F|5C|3F|23|3B|[01][0-9A-F]|7F|25[0-9A-Fa-f]{2})|//|/\.\.?(/|$)`)
	decoded, err := url.PathUnescape(path)
	if !strings.HasPrefix(path, "/") || odd.MatchString(path) || err != nil || !utf8.ValidString(decoded) {
		return "", true
	}
	if path != "/" {
		path = strings.TrimSuffix(path, "/")
	}
	return path, false
}

func (ref *reference) check(p refPolicy, r *Request, sent rawHeaders) (reason string, claims map[string]any, issuer string) {
	switch p.access {
	case "deny":
		return "denied_by_policy", nil, ""
	case "public":
		return "public", nil, ""
	}
	token, reason := refCredential(p, r, sent)
	if reason == "missing_token" && p.access == "optional" {
		return "anonymous", nil, ""
	}
	if reason != "" {
		return reason, nil, ""
	}
	claims, issuer, reason = ref.token(token, p)
	if reason != "" {
		return reason, nil, ""
	}
	scopes, _ := claims["scope"].(string)
	for _, s := range p.scopes {
		if !slices.Contains(strings.Fields(scopes), s) {
			return "insufficient_scope", nil, ""
		}
	}
	if p.roles != nil && !refContains(claims["roles"], p.roles) {
		return "role_missing", nil, ""
	}
	if tier := fmt.Sprint(claims["tier"]); p.tier && claims["tier"] != "gold" && (claims["tier"] == "1" || tier != "1" && tier != "1.0") {
		return "claim_mismatch", nil, ""
	}
	return "valid_token", claims, issuer
}

func refContains(claim any, want []string) bool {
	list, ok := claim.([]any)
	if !ok {
		list = []any{claim}
	}
	return slices.ContainsFunc(list, func(v any) bool { s, ok := v.(string); return ok && slices.Contains(want, s) })
}

// refCredential looks at all places and wants exactly one credential.
func refCredential(p refPolicy, r *Request, sent rawHeaders) (token, reason string) {
	b64 := regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)
	var found []string // a token, or "!" and a reason
	if v, n := sent.Get("authorization"); n > 0 {
		v = strings.Trim(v, " \t")
		ours := regexp.MustCompile("(?i)^[ \t]*bearer($|[^A-Za-z0-9!#$%&'*+.^_`|~-])")
		other := regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+ +[^ ]")
		begins := slices.ContainsFunc(strings.Split(v, ","), ours.MatchString)
		dpop := slices.ContainsFunc(strings.Split(strings.ToLower(v), ","), regexp.MustCompile(`^[ \t]*dpop\b`).MatchString)
		credential := regexp.MustCompile(`(?i)^bearer +([^ ]+)$`).FindStringSubmatch(v)
		switch {
		case begins && strings.Contains(v, ","):
			found = append(found, "!multiple_credentials")
		case credential != nil && b64.MatchString(credential[1]):
			found = append(found, credential[1])
		case begins || dpop || !other.MatchString(v):
			found = append(found, "!malformed_credentials")
		}
	}
	if p.places {
		cookies, _ := sent.Get("cookie")
		for _, c := range regexp.MustCompile(`[;,]`).Split(cookies, -1) {
			if name, value, _ := strings.Cut(c, "="); strings.Trim(name, " \t") == "s" {
				found = append(found, strings.Trim(value, " \t"))
			}
		}
		_, query, _ := strings.Cut(r.Path, "?")
		for _, q := range strings.Split(query, "&") {
			name, value, _ := strings.Cut(q, "=")
			if n, err := url.PathUnescape(name); err == nil && n == "t" {
				found = append(found, value)
			}
		}
	}
	switch {
	case len(found) == 0:
		return "", "missing_token"
	case len(found) > 1:
		return "", "multiple_credentials"
	case strings.HasPrefix(found[0], "!"):
		return "", found[0][1:]
	case !b64.MatchString(found[0]):
		return "", "malformed_credentials"
	}
	return found[0], ""
}

func (ref *reference) token(token string, p refPolicy) (claims map[string]any, issuer, reason string) {
	parts := strings.Split(token, ".")
	if len(token) > 16384 || len(parts[0]) > 4096 {
		return nil, "", "token_too_large"
	}
	if len(parts) != 3 || slices.Contains(parts, "") && parts[2] != "" {
		return nil, "", "malformed_token"
	}
	var raw [3][]byte
	for i, part := range parts {
		raw[i], _ = base64.RawURLEncoding.DecodeString(part)
		if base64.RawURLEncoding.EncodeToString(raw[i]) != part { // other alphabets, white space, loose bits
			return nil, "", "malformed_token"
		}
	}
	header, ok := refObject(raw[0])
	if !ok {
		return nil, "", "malformed_token"
	}
	alg, _ := header["alg"].(string)
	if !slices.Contains(oidc.Algorithms(), oidc.Algorithm(alg)) {
		return nil, "", "unsupported_algorithm"
	}
	for _, name := range []string{"crit", "b64", "jwk", "jku", "x5u", "x5c", "enc", "zip"} {
		if _, there := header[name]; there {
			return nil, "", "malformed_token"
		}
	}
	kid, isString := header["kid"].(string)
	if _, there := header["kid"]; there && !isString || len(kid) > 256 {
		return nil, "", "malformed_token"
	}
	claims, ok = refObject(raw[1])
	if !ok || len(raw[2]) == 0 {
		return nil, "", "malformed_token"
	}
	iss, _ := claims["iss"].(string)
	issuer = ref.issuers[iss]
	switch {
	case issuer == "":
		return nil, "", "unknown_issuer"
	case p.issuers != nil && !slices.Contains(p.issuers, issuer):
		return nil, "", "issuer_not_accepted"
	}
	typ, isString := header["typ"].(string)
	typ = strings.TrimPrefix(strings.ToLower(typ), "application/")
	if _, there := header["typ"]; there && (!isString || typ != "at+jwt" && typ != "jwt") {
		return nil, "", "wrong_token_type"
	}
	for _, mark := range []string{"nonce", "at_hash", "c_hash", "events", "htm"} {
		if claims[mark] != nil {
			return nil, "", "wrong_token_type"
		}
	}
	if reason := ref.claims(claims, issuer); reason != "" {
		return nil, "", reason
	}
	audiences := p.audiences
	if audiences == nil {
		audiences = []string{"api"}
	}
	if !refContains(claims["aud"], audiences) {
		return nil, "", "wrong_audience"
	}
	key := ref.keys[issuer][kid]
	if _, there := header["kid"]; !there && alg == "ES256" { // each issuer has one key
		for _, key = range ref.keys[issuer] {
		}
	}
	if key == nil || alg != "ES256" {
		return nil, "", "unknown_key"
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if len(raw[2]) != 64 || !ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(raw[2][:32]), new(big.Int).SetBytes(raw[2][32:])) {
		return nil, "", "bad_signature"
	}
	if claims["cnf"] != nil {
		return nil, "", "proof_missing"
	}
	return claims, issuer, ""
}

func (ref *reference) claims(claims map[string]any, issuer string) string {
	times := map[string]float64{}
	for _, name := range []string{"exp", "nbf", "iat"} {
		n, isNumber := claims[name].(json.Number)
		f, err := n.Float64()
		if claims[name] == nil && name != "exp" {
			continue
		}
		if !isNumber || err != nil || f < 0 || f >= 253402300800 || name == "exp" && f == 0 {
			return "invalid_claim"
		}
		times[name] = f
	}
	_, hasIAT := times["iat"]
	aud, isList := claims["aud"].([]any)
	isText := func(v any) bool { _, ok := v.(string); return ok || v == nil }
	scope, _ := claims["scope"].(string)
	if !isText(claims["sub"]) || !isText(claims["scope"]) || !regexp.MustCompile(`^[!#-\[\]-~ ]*$`).MatchString(scope) || !isList && !isText(claims["aud"]) ||
		slices.ContainsFunc(aud, func(v any) bool { return v == nil || !isText(v) }) {
		return "invalid_claim"
	}
	if cnf := claims["cnf"]; cnf != nil && fmt.Sprintf("%T", cnf) != "map[string]interface {}" {
		return "invalid_claim"
	}
	switch {
	case ref.now >= float64(int64(times["exp"]))+30:
		return "expired"
	case times["nbf"] > ref.now+30 || times["iat"] > ref.now+30:
		return "not_yet_valid"
	case issuer == "partner" && (!hasIAT || times["exp"]-times["iat"] > 600):
		return "invalid_claim"
	}
	return ""
}

// refObject reads a JSON object without duplicate members.
func refObject(text []byte) (map[string]any, bool) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	v, ok := refValue(d)
	object, isObject := v.(map[string]any)
	_, err := d.Token()
	return object, ok && isObject && err == io.EOF && utf8.Valid(text)
}

func refValue(d *json.Decoder) (any, bool) {
	t, err := d.Token()
	if err != nil {
		return nil, false
	}
	switch t {
	case json.Delim('{'):
		object := map[string]any{}
		for d.More() {
			name, err := d.Token()
			v, ok := refValue(d)
			key, isString := name.(string)
			if _, twice := object[key]; err != nil || !ok || !isString || twice {
				return nil, false
			}
			object[key] = v
		}
		_, err := d.Token()
		return object, err == nil
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, ok := refValue(d)
			if !ok {
				return nil, false
			}
			list = append(list, v)
		}
		_, err := d.Token()
		return list, err == nil
	}
	return t, true
}

func refIdentity(claims map[string]any, issuer string) map[string]string {
	set := map[string]string{"x-auth-issuer": issuer}
	for name, claim := range map[string]string{"x-auth-subject": "sub", "x-auth-scopes": "scope", "x-tier": "tier"} {
		text := fmt.Sprint(claims[claim])
		if claim == "scope" {
			text = strings.Join(strings.Fields(text), " ")
		}
		if claims[claim] == nil || text == "" {
			continue
		}
		escaped := regexp.MustCompile(`^ +| +$|[^ -$&-~]`).ReplaceAllStringFunc(text, func(s string) string {
			return strings.ToUpper(regexp.MustCompile(`..`).ReplaceAllString(fmt.Sprintf("%x", s), "%$0"))
		})
		set[name] = escaped
	}
	return set
}
