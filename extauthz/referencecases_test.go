package extauthz

import (
	"crypto/ecdsa"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

const referenceCases = 2000

// referenceWorld makes requests and tokens, mostly good, with one thing or
// another wrong.
type referenceWorld struct {
	*rand.Rand
	now           time.Time
	shop, partner *oidctest.Issuer
}

func pick[T any](w *referenceWorld, from ...T) T { return from[w.IntN(len(from))] }

// now and then is one in n.
func (w *referenceWorld) oneIn(n int) bool { return w.IntN(n) == 0 }

func (w *referenceWorld) token() string {
	issuer := pick(w, w.shop, w.shop, w.partner)
	at := func(d time.Duration) int64 { return w.now.Add(d).Unix() }
	claims := map[string]any{
		"tier":  pick[any](w, "gold", "gold", 1, 1.5, "1", "silver", "50% caf\u00e9 ", oidctest.Omit),
		"scope": pick[any](w, "admin", "read admin", "read", oidctest.Omit),
		"roles": pick[any](w, "ops", []string{"dev", "ops"}, []string{"dev"}, oidctest.Omit),
	}
	var opts []oidctest.TokenOption
	for range pick(w, 0, 0, 0, 1, 1, 2) {
		switch w.IntN(12) {
		case 0, 1: // time
			claims["exp"] = pick[any](w, at(-time.Minute), at(-29*time.Second), at(-30*time.Second), at(time.Hour), 0, -1, 1e18, "1", true, nil, oidctest.Omit)
		case 2:
			claims[pick(w, "nbf", "iat")] = pick[any](w, at(time.Minute), at(30*time.Second), at(31*time.Second), at(-time.Hour), -1, "x", nil, oidctest.Omit)
		case 3: // audience
			claims["aud"] = pick[any](w, "other", "Api", "api/", []string{"x", "api"}, []any{"api", 1}, []string{}, 7, nil, oidctest.Omit)
		case 4: // issuer
			claims["iss"] = pick[any](w, w.partner.URL, w.shop.URL, w.shop.URL+"/", strings.ToUpper(w.shop.URL), "", 1, nil, oidctest.Omit)
		case 5: // the kind of token
			opts = append(opts, oidctest.Header("typ", pick[any](w, "JWT", "application/AT+JWT", "logout+jwt", "dpop+jwt", "none", "", oidctest.Omit)))
		case 6:
			claims[pick(w, "nonce", "at_hash", "c_hash", "events", "htm", "Nonce")] = pick[any](w, "x", nil)
		case 7: // algorithm
			opts = append(opts, oidctest.Header("alg", pick[any](w, "none", "None", "HS256", "ES384", "RS256", "EdDSA", "", 1, nil, oidctest.Omit)))
		case 8: // whose key
			opts = append(opts, pick(w, oidctest.Forged(), oidctest.NoKeyID(), oidctest.KeyID("nope"), oidctest.SignWith(w.partner.SigningKey()), oidctest.Unsigned()))
		case 9: // members of the header that offer a key or change what is signed
			opts = append(opts, oidctest.Header(pick(w, "crit", "b64", "jwk", "jku", "x5u", "x5c", "zip", "enc", "kid", "Crit"), pick[any](w, 1, nil, []string{"b64"}, strings.Repeat("k", 257))))
		case 10:
			claims[pick(w, "cnf", "sub", "scope", "filler")] = pick[any](w, map[string]any{"jkt": "x"}, map[string]any{}, "a\r\nb", 7, []int{1}, nil, strings.Repeat("x", 13000))
		case 11: // JSON that not everybody reads alike
			raw := `{"iss":"` + issuer.URL + `","sub":"a","aud":"api","exp":` + pick(w, "1800000100", "18000001e2", "1800000100.5", "01800000100", "1e999")
			opts = append(opts, oidctest.RawClaims([]byte(raw+pick(w, `}`, `,"tier":"gold"}`, `,"sub":"b"}`, `,"\u0073ub":"b"}`, `,"Sub":"b","tier":"gold"}`, `,"x":{"a":1,"a":1}}`, `,"x":"`+"\xff"+`"}`, `}{}`, ` } `, `,}`, ``))))
		}
	}
	token := issuer.Token(claims, opts...)
	if w.oneIn(8) { // the text of the token
		i := w.IntN(len(token))
		token = pick(w, token+"=", token[:i]+".", token[:i]+token[i+1:], token[:i]+"A"+token[i+1:], token[:len(token)-1]+pick(w, "A", "B", "Q"), "."+token, token+".",
			strings.Replace(token, ".", "..", 1), token+"."+token, strings.ReplaceAll(token, "_", "/"), "", strings.Repeat("a", pick(w, 16384, 16385)))
	}
	return token
}

func (w *referenceWorld) request() (*Request, rawHeaders) {
	r := &Request{
		Method: pick(w, "GET", "GET", "POST"), Host: pick(w, "api.example.com", "API.example.com:8443", "a.b.example.com."),
		Path: pick(w, "/x", "/x", "/admin", "/admin/a/", "/users/7/keys", "/partner", "/open/a", "/places", "/places"),
	}
	switch w.IntN(10) {
	case 0:
		r.Host = pick(w, "example.com", "internal.example.com", "internal.example.com.:80", "evilexample.com", "api.example.com/x", "a@api.example.com", "[::1]:80", "", "api.example.com:")
	case 1:
		r.Method = pick(w, "DELETE", "get", "", "G T", "M-SEARCH")
	case 2:
		r.Path = pick(w, "/adminx", "/users//keys", "/public/a", "/publicx", "/open/a/b", "/", "*", "", "http://h/x")
	}
	if w.oneIn(5) { // what servers read in different ways
		i := w.IntN(len(r.Path) + 1)
		r.Path = r.Path[:i] + pick(w, "%2f", "%5C", `\`, "/../", "/./", "%2e%2e/", "//", ";x", "%3b", "#", "%23", "%00", "\x7f", "%61", "%41dmin", "%zz", "%", "%252e", "%2525", "%ff", "%c3%a9", "%C0%AF", "é", "?/admin", "?a=/../b;c", ":", "%3a") + r.Path[i:]
	}
	for range pick(w, 0, 0, 1, 2) {
		r.Routes = append(r.Routes, pick(w, Route{"HTTPRoute", "shop", "a"}, Route{"GRPCRoute", "shop", "a"}, Route{"HTTPRoute", "shop", "b"}, Route{"HTTPRoute", "a", "shop"}, Route{}))
	}
	var h rawHeaders
	add := func(name, value string) { h = append(h, Header{name, value}) }
	for range pick(w, 0, 1, 1, 1, 1, 1, 1, 1, 2) {
		t := w.token()
		switch {
		case strings.HasPrefix(r.Path, "/places") && w.oneIn(2):
			if w.oneIn(2) {
				add("cookie", pick(w, "s="+t, "a=1; s="+t, "s="+t+"; s=x", "xs="+t, "s=", "s"))
			} else {
				r.Path += pick(w, "?t="+t, "?a&%74="+t+"&b", "?t="+t+"&t=x", "?T="+t, "?t=", "?t")
			}
		case w.oneIn(6):
			add("authorization", pick(w, "Bearer", "bearer  "+t, " Bearer "+t+"\t", "Bearer\t"+t, "Bearer "+t+" x", "Bearer "+t+", Bearer "+t, "Basic eA==", "Basic a, Bearer "+t, `Digest a="b", c="d"`, "DPoP "+t, "Basic a,dpop "+t, "Basic", "", t, "Bearerx "+t, "Bearer="+t, "=, x"))
		default:
			add(pick(w, "authorization", "Authorization"), "Bearer "+t)
		}
	}
	if w.oneIn(3) { // identity that a client writes itself, and headers that steer others
		add(pick(w, "x-auth-subject", "X_Auth_Subject", "x.tier", "X-TIER", "x-forwarded-uri", "x-original-url", "x-http-method-override"), pick(w, "root", "/public/a", "GET"))
	}
	return r, h
}

func TestTheGateAgreesWithTheReference(t *testing.T) {
	w := &referenceWorld{Rand: rand.New(rand.NewPCG(3, 14)), now: time.Unix(1_800_000_000, 0)} //nolint:gosec // the same cases each time
	clock := oidctest.WithClock(func() time.Time { return w.now })
	w.shop = oidctest.NewIssuer(clock, oidctest.WithAudience("api"), oidctest.WithPath("/shop"))
	defer w.shop.Close()
	w.partner = oidctest.NewIssuer(clock, oidctest.WithAudience("api"), oidctest.WithPath("/partner"))
	defer w.partner.Close()
	ref := &reference{now: float64(w.now.Unix()), issuers: map[string]string{}, keys: map[string]map[string]*ecdsa.PublicKey{}}
	for name, issuer := range map[string]*oidctest.Issuer{"shop": w.shop, "partner": w.partner} {
		key := issuer.SigningKey()
		ref.issuers[issuer.URL] = name
		ref.keys[name] = map[string]*ecdsa.PublicKey{key.ID: key.Public().(*ecdsa.PublicKey)}
	}
	cfg, err := ParseConfig("config.yaml", []byte(strings.NewReplacer("$shop", w.shop.URL, "$partner", w.partner.URL).Replace(referenceConfig)))
	if err != nil {
		t.Fatal(err)
	}
	bePatient(cfg)
	gate, err := NewGate(cfg, Options{Clock: func() time.Time { return w.now }})
	if err != nil {
		t.Fatal(err)
	}
	defer gate.Close()

	seen := map[oidc.Reason]int{}
	routed := 0
	for i := range referenceCases {
		r, sent := w.request()
		reason, policy, set := ref.decide(r, sent)
		r.Headers = pick(w, sent, sent.joined())
		for range 2 { // the second time, the cache has its say
			d := gate.Decide(t.Context(), r)
			if string(d.Reason()) != reason || d.Policy() != policy {
				t.Fatalf("case %d: %+v\nthe gate says %s by policy %q, the reference %s by %q", i, r, d.Reason(), d.Policy(), reason, policy)
			}
			headers, remove := d.RequestHeaders()
			for _, name := range gate.set.Load().policies[0].identity.names.sorted {
				at := slices.IndexFunc(headers, func(h Header) bool { return h.Name == name })
				switch value, ok := set[name]; {
				case !d.Allowed():
				case ok != (at >= 0) || ok == slices.Contains(remove, name):
					t.Fatalf("case %d: %+v\nheader %s: in %q or %q, the reference sets %q", i, r, name, headers, remove, set)
				case ok && headers[at].Value != value:
					t.Fatalf("case %d: %+v\nheader %s is %q, in the reference %q", i, r, name, headers[at].Value, value)
				}
			}
			seen[d.Reason()]++
			if d.Policy() == "routed" {
				routed++
			}
		}
	}
	if routed == 0 {
		t.Error("no case was about a route")
	}
	for _, reason := range []oidc.Reason{
		oidc.ValidToken, oidc.Anonymous, oidc.Public, oidc.MissingToken, oidc.MalformedCredentials, oidc.MultipleCredentials, oidc.MalformedToken,
		oidc.TokenTooLarge, oidc.UnsupportedAlgorithm, oidc.UnknownIssuer, oidc.IssuerNotAccepted, oidc.WrongTokenType, oidc.Expired, oidc.NotYetValid,
		oidc.WrongAudience, oidc.UnknownKey, oidc.BadSignature, oidc.InvalidClaim, oidc.ProofMissing, oidc.InsufficientScope, oidc.NoPolicy,
		oidc.DeniedByPolicy, oidc.AmbiguousPath, oidc.ClaimMismatch, oidc.RoleMissing,
	} {
		if seen[reason] == 0 {
			t.Errorf("no case was about %s", reason)
		}
	}
}
