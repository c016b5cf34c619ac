package dpop_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/dpop"
)

const (
	apiURL = "https://api.example.com/orders"
	token  = "the.access.token"
	now    = 1_800_000_000
)

// forger signs what no honest client would.
type forger struct {
	t          *testing.T
	private    *ecdsa.PrivateKey
	thumbprint string
}

func newForger(t *testing.T) forger {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	thumbprint, err := oidc.Thumbprint(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	return forger{t, private, thumbprint}
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return encode(sum[:])
}

// jwk is the public key, with changes.
func (f forger) jwk(changes map[string]any) map[string]any {
	point, err := f.private.PublicKey.Bytes()
	if err != nil {
		f.t.Fatal(err)
	}
	jwk := map[string]any{"kty": "EC", "crv": "P-256", "x": encode(point[1:33]), "y": encode(point[33:])}
	return change(jwk, changes)
}

// gone as a value takes a member away.
const gone = "(gone)"

func change(m, changes map[string]any) map[string]any {
	for name, value := range changes {
		if value == gone {
			delete(m, name)
		} else {
			m[name] = value
		}
	}
	return m
}

// proof is a good proof, with changes in its header and claims.
func (f forger) proof(header, claims map[string]any) string {
	header = change(map[string]any{"typ": "dpop+jwt", "alg": "ES256", "jwk": f.jwk(nil)}, header)
	claims = change(map[string]any{
		"jti": rand.Text(), "htm": "GET", "htu": apiURL, "iat": now, "ath": hash(token),
	}, claims)
	h, err1 := json.Marshal(header)
	c, err2 := json.Marshal(claims)
	if err1 != nil || err2 != nil {
		f.t.Fatal(err1, err2)
	}
	return f.sign(string(h), string(c))
}

func (f forger) sign(header, claims string) string {
	input := encode([]byte(header)) + "." + encode([]byte(claims))
	sum := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, f.private, sum[:])
	if err != nil {
		f.t.Fatal(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return input + "." + encode(signature)
}

type members = map[string]any

func TestAProofIsHeldToEachRule(t *testing.T) {
	f := newForger(t)
	other := newForger(t)
	good := f.proof(nil, nil)
	for _, tt := range []struct {
		rule   string
		proofs []string
		method string // GET if empty
		url    string // apiURL if empty
		want   string // "" for a proof that is good
	}{
		{rule: "a good one", proofs: []string{good}},
		{rule: "1: none", want: "proof_invalid: the request has no DPoP header"},
		{rule: "1: two", proofs: []string{f.proof(nil, nil), f.proof(nil, nil)}, want: "proof_invalid: the request has several DPoP headers"},
		{rule: "1: two, joined", proofs: []string{f.proof(nil, nil) + ", " + f.proof(nil, nil)}, want: "proof_invalid: not three segments"},
		{rule: "1: empty", proofs: []string{""}, want: "proof_invalid: not three segments"},
		{rule: "2: not a JWT", proofs: []string{"a.b"}, want: "proof_invalid: not three segments"},
		{rule: "2: padded", proofs: []string{f.proof(nil, nil) + "="}, want: "proof_invalid: a segment is not strict base64url"},
		{rule: "2: a space", proofs: []string{" " + f.proof(nil, nil)}, want: "proof_invalid: a segment is not strict base64url"},
		{rule: "2: a duplicate member", proofs: []string{f.sign(`{"typ":"dpop+jwt","typ":"dpop+jwt"}`, `{}`)}, want: "proof_invalid: JSON with a duplicate member"},
		{rule: "2: claims that are no object", proofs: []string{f.sign(mustJSON(t, members{"typ": "dpop+jwt", "alg": "ES256", "jwk": f.jwk(nil)}), `[]`)}, want: "proof_invalid: not a JSON object"},
		{rule: "2: too large", proofs: []string{f.proof(nil, members{"x": strings.Repeat("x", dpop.MaxProofSize)})}, want: "proof_invalid: over 8192 bytes"},
		{rule: "2: header too large", proofs: []string{f.proof(members{"x": strings.Repeat("x", 4<<10)}, nil)}, want: "proof_invalid: header over 4 KiB"},
		{rule: "3: no jti", proofs: []string{f.proof(nil, members{"jti": gone})}, want: "proof_invalid (jti): missing, or not a string of 1 to 256 bytes"},
		{rule: "3: jti is a number", proofs: []string{f.proof(nil, members{"jti": 7})}, want: "proof_invalid (jti): missing, or not a string of 1 to 256 bytes"},
		{rule: "3: jti is empty", proofs: []string{f.proof(nil, members{"jti": ""})}, want: "proof_invalid (jti): missing, or not a string of 1 to 256 bytes"},
		{rule: "3: jti of 256 bytes", proofs: []string{f.proof(nil, members{"jti": strings.Repeat("x", 256)})}},
		{rule: "3: jti of 257 bytes", proofs: []string{f.proof(nil, members{"jti": strings.Repeat("x", 257)})}, want: "proof_invalid (jti): missing, or not a string of 1 to 256 bytes"},
		{rule: "4: no typ", proofs: []string{f.proof(members{"typ": gone}, nil)}, want: "proof_invalid: typ is not dpop+jwt"},
		{rule: "4: an access token's typ", proofs: []string{f.proof(members{"typ": "at+jwt"}, nil)}, want: "proof_invalid: typ is not dpop+jwt"},
		{rule: "4: typ is a number", proofs: []string{f.proof(members{"typ": 1}, nil)}, want: "proof_invalid: typ is not dpop+jwt"},
		{rule: "4: typ as a whole media type", proofs: []string{f.proof(members{"typ": "application/DPoP+jwt"}, nil)}},
		{rule: "5: alg none", proofs: []string{f.proof(members{"alg": "none"}, nil)}, want: "proof_invalid: alg is not an accepted signature algorithm"},
		{rule: "5: HMAC", proofs: []string{f.proof(members{"alg": "HS256"}, nil)}, want: "proof_invalid: alg is not an accepted signature algorithm"},
		{rule: "5: no alg", proofs: []string{f.proof(members{"alg": gone}, nil)}, want: "proof_invalid: alg is not an accepted signature algorithm"},
		{rule: "5: not in the list", proofs: []string{f.proof(members{"alg": "PS512"}, nil)}, want: "proof_invalid: alg is not an accepted signature algorithm"},
		{rule: "5: alg of another curve", proofs: []string{f.proof(members{"alg": "ES384"}, nil)}, want: "proof_invalid: alg does not fit the header's jwk"},
		{rule: "6: signed by another key", proofs: []string{other.proof(members{"jwk": f.jwk(nil)}, nil)}, want: "proof_invalid: the signature is not one of the header's jwk"},
		{rule: "6: no signature", proofs: []string{good[:strings.LastIndex(good, ".")+1]}, want: "proof_invalid: the signature is not one of the header's jwk"},
		{rule: "7: a private key", proofs: []string{f.proof(members{"jwk": f.jwk(members{"d": encode(make([]byte, 32))})}, nil)}, want: "proof_invalid: the header's jwk: has private members"},
		{rule: "7: a symmetric key", proofs: []string{f.proof(members{"jwk": members{"kty": "oct", "k": "AAAA"}}, nil)}, want: "proof_invalid: the header's jwk: symmetric (kty oct)"},
		{rule: "7: no key", proofs: []string{f.proof(members{"jwk": gone}, nil)}, want: "proof_invalid: the header has no jwk"},
		{rule: "7: a key that is a string", proofs: []string{f.proof(members{"jwk": "x"}, nil)}, want: "proof_invalid: the header has no jwk"},
		{rule: "7: a point off the curve", proofs: []string{f.proof(members{"jwk": f.jwk(members{"y": encode(make([]byte, 32))})}, nil)}, want: "proof_invalid: the header's jwk: the point is not on the curve"},
		{rule: "7: a key of elsewhere", proofs: []string{f.proof(members{"jku": "https://evil.example"}, nil)}, want: "proof_invalid: the header parameter jku is not accepted"},
		{rule: "7: crit", proofs: []string{f.proof(members{"crit": []string{"b64"}, "b64": false}, nil)}, want: "proof_invalid: the header parameter crit is not accepted"},
		{rule: "8: another method", proofs: []string{f.proof(nil, nil)}, method: "POST", want: "proof_invalid (htm): not the method of the request"},
		{rule: "8: the method's case", proofs: []string{f.proof(nil, members{"htm": "get"})}, want: "proof_invalid (htm): not the method of the request"},
		{rule: "8: no method", proofs: []string{f.proof(nil, members{"htm": gone})}, want: "proof_invalid (htm): not the method of the request"},
		{rule: "9: no URL", proofs: []string{f.proof(nil, members{"htu": gone})}, want: "proof_invalid (htu): missing, or not a string"},
		{rule: "9: not a URL", proofs: []string{f.proof(nil, members{"htu": "/orders"})}, want: "proof_invalid (htu): the URL does not begin with https:// or http://"},
		{rule: "9: another path", proofs: []string{f.proof(nil, nil)}, url: apiURL + "/", want: "proof_invalid (htu): not the URL of the request, as this server's configuration says that clients see it"},
		{rule: "9: another scheme", proofs: []string{f.proof(nil, members{"htu": "http://api.example.com/orders"})}, want: "proof_invalid (htu): not the URL of the request, as this server's configuration says that clients see it"},
		{rule: "9: another port", proofs: []string{f.proof(nil, members{"htu": "https://api.example.com:444/orders"})}, want: "proof_invalid (htu): not the URL of the request, as this server's configuration says that clients see it"},
		{rule: "9: the request has a query", proofs: []string{f.proof(nil, nil)}, url: apiURL + "?a=b#c"},
		{rule: "9: the proof has a query", proofs: []string{f.proof(nil, members{"htu": apiURL + "?c=d"})}},
		{rule: "9: another spelling", proofs: []string{f.proof(nil, members{"htu": "HTTPS://API.example.com:443/x/../%6frders"})}},
		{rule: "9: our own URL is none", proofs: []string{f.proof(nil, nil)}, url: "api.example.com/orders", want: "proof_invalid (htu): the request's own URL cannot be compared: the URL does not begin with https:// or http://"},
		{rule: "11: no iat", proofs: []string{f.proof(nil, members{"iat": gone})}, want: "proof_invalid (iat): missing, or not a number from 0 to the year 9999"},
		{rule: "11: iat is a string", proofs: []string{f.proof(nil, members{"iat": "1800000000"})}, want: "proof_invalid (iat): missing, or not a number from 0 to the year 9999"},
		{rule: "11: iat is huge", proofs: []string{f.proof(nil, members{"iat": 1e300})}, want: "proof_invalid (iat): missing, or not a number from 0 to the year 9999"},
		{rule: "11: 60 s old", proofs: []string{f.proof(nil, members{"iat": now - 60})}},
		{rule: "11: 61 s old", proofs: []string{f.proof(nil, members{"iat": now - 61})}, want: "proof_invalid (iat): more than 60 s ago or 10 s ahead"},
		{rule: "11: 10 s ahead", proofs: []string{f.proof(nil, members{"iat": now + 10})}},
		{rule: "11: a little more than 10 s ahead", proofs: []string{f.proof(nil, members{"iat": now + 10.5})}, want: "proof_invalid (iat): more than 60 s ago or 10 s ahead"},
		{rule: "11: exp is over", proofs: []string{f.proof(nil, members{"exp": now})}, want: "proof_invalid (exp): over, or not a number from 0 to the year 9999"},
		{rule: "11: exp is to come", proofs: []string{f.proof(nil, members{"exp": now + 1})}},
		{rule: "12: no ath", proofs: []string{f.proof(nil, members{"ath": gone})}, want: "proof_invalid (ath): missing, or not the hash of the token"},
		{rule: "12: ath of another token", proofs: []string{f.proof(nil, members{"ath": hash("another")})}, want: "proof_invalid (ath): missing, or not the hash of the token"},
		{rule: "12: ath is padded", proofs: []string{f.proof(nil, members{"ath": hash(token) + "="})}, want: "proof_invalid (ath): missing, or not the hash of the token"},
		{rule: "12: another key", proofs: []string{other.proof(nil, nil)}, want: "proof_invalid (jwk): not the key that the token is bound to"},
	} {
		clock := at(now)
		// Made long ago, so that no proof is older than the memory of the store.
		v := verifier(t, dpop.Config{Clock: clock, Replay: dpop.NewMemory(0, time.Unix(0, 0))})
		r := dpop.Request{Proofs: tt.proofs, Method: "GET", URL: apiURL}
		if tt.method != "" {
			r.Method = tt.method
		}
		if tt.url != "" {
			r.URL = tt.url
		}
		got := ""
		if err := v.Verify(t.Context(), r, token, f.thumbprint); err != nil {
			got = strings.TrimPrefix(err.Error(), "oidc: ")
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.rule, got, tt.want)
		}
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Whatever was not looked at in the request must not count as a use.
func TestARefusedProofIsNotUsedUp(t *testing.T) {
	f := newForger(t)
	memory := dpop.NewMemory(0, time.Unix(0, 0))
	v := verifier(t, dpop.Config{Clock: at(now), Replay: memory})
	good := f.proof(nil, nil)
	forged := good[:len(good)-8] + "AAAAAAAA"
	r := dpop.Request{Method: "GET", URL: apiURL}
	for _, proof := range []string{forged, good + "x"} {
		r.Proofs = []string{proof}
		if err := v.Verify(t.Context(), r, token, f.thumbprint); err == nil {
			t.Error("a forged proof is good")
		}
	}
	r.Proofs = []string{good}
	r.URL = "https://api.example.com/other"
	if err := v.Verify(t.Context(), r, token, f.thumbprint); err == nil {
		t.Error("a proof for another URL is good")
	}
	if n := memory.Len(); n != 0 {
		t.Errorf("%d proofs are remembered", n)
	}
	r.URL = apiURL
	if err := v.Verify(t.Context(), r, token, f.thumbprint); err != nil {
		t.Error(err)
	}
}

func TestAProofIsGoodOnce(t *testing.T) {
	f := newForger(t)
	v := verifier(t, dpop.Config{Clock: at(now)})
	r := dpop.Request{Proofs: []string{f.proof(nil, members{"jti": "same"})}, Method: "GET", URL: apiURL}
	results := make(chan error, 16)
	var all sync.WaitGroup
	for range cap(results) {
		all.Go(func() { results <- v.Verify(context.Background(), r, token, f.thumbprint) })
	}
	all.Wait()
	close(results)
	good := 0
	for err := range results {
		switch {
		case err == nil:
			good++
		case oidc.ReasonOf(err) != oidc.ProofReplayed || !errors.Is(err, dpop.ErrReplayed):
			t.Error(err)
		}
	}
	if good != 1 {
		t.Errorf("the proof was good %d times", good)
	}
	// A jti is one client's own: another's proof may have the same.
	other := newForger(t)
	r.Proofs = []string{other.proof(nil, members{"jti": "same"})}
	if err := v.Verify(t.Context(), r, token, other.thumbprint); err != nil {
		t.Error(err)
	}
}

func TestAProofOfBeforeTheStartIsTakenForUsed(t *testing.T) {
	f := newForger(t)
	clock := int64(now)
	v := verifier(t, dpop.Config{Clock: func() time.Time { return time.Unix(clock, 500) }})
	clock += 30
	for iat, want := range map[int64]oidc.Reason{now - 1: oidc.ProofReplayed, now: ""} {
		r := dpop.Request{Proofs: []string{f.proof(nil, members{"iat": iat})}, Method: "GET", URL: apiURL}
		if err := v.Verify(t.Context(), r, token, f.thumbprint); oidc.ReasonOf(err) != want {
			t.Errorf("made %d s after the start: %v", iat-now, err)
		}
	}
}

type brokenStore struct{ err error }

func (s brokenStore) Remember(context.Context, dpop.Use) error { return s.err }

func TestAStoreThatCannotRememberRefuses(t *testing.T) {
	f := newForger(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		ctx  context.Context
		err  error
		want oidc.Reason
	}{
		{t.Context(), dpop.ErrFull, oidc.Overloaded},
		{t.Context(), errors.New("connection refused"), oidc.Overloaded},
		{ended, context.Canceled, oidc.Deadline},
	} {
		v := verifier(t, dpop.Config{Clock: at(now), Replay: brokenStore{tt.err}})
		r := dpop.Request{Proofs: []string{f.proof(nil, nil)}, Method: "GET", URL: apiURL}
		err := v.Verify(tt.ctx, r, token, f.thumbprint)
		if oidc.ReasonOf(err) != tt.want || !errors.Is(err, tt.err) || !errors.Is(err, oidc.ErrCannotKnow) {
			t.Errorf("%v: %v", tt.err, err)
		}
	}
}

func TestNothingIsGoodWithoutATokenAndItsBinding(t *testing.T) {
	f := newForger(t)
	r := dpop.Request{Proofs: []string{f.proof(nil, members{"ath": hash("")})}, Method: "GET", URL: apiURL}
	v := verifier(t, dpop.Config{Clock: at(now)})
	for _, tt := range [][2]string{{"", f.thumbprint}, {token, ""}} {
		if err := v.Verify(t.Context(), r, tt[0], tt[1]); oidc.ReasonOf(err) != oidc.ProofInvalid {
			t.Errorf("%q: %v", tt, err)
		}
	}
	if err := (&dpop.Verifier{}).Verify(t.Context(), r, token, f.thumbprint); oidc.ReasonOf(err) != oidc.ProofInvalid {
		t.Errorf("the zero Verifier: %v", err)
	}
}

func TestNewVerifierRefusesWhatCannotBeVerified(t *testing.T) {
	for _, algs := range [][]oidc.Algorithm{{}, {"none"}, {"HS256"}, {oidc.ES256, "x"}} {
		if _, err := dpop.NewVerifier(dpop.Config{Algorithms: algs}); err == nil {
			t.Errorf("%q is accepted", algs)
		}
	}
}

// What goes wrong is told without what the client sent.
func TestErrorsRepeatNothing(t *testing.T) {
	f := newForger(t)
	v := verifier(t, dpop.Config{Clock: at(now)})
	for _, proof := range []string{
		"canary", f.proof(members{"typ": "canary"}, nil), f.proof(members{"alg": "canary"}, nil), f.proof(members{"canary": 1, "jwk": members{"kty": "canary"}}, nil),
		f.proof(nil, members{"htm": "canary"}), f.proof(nil, members{"htu": "https://canary"}), f.proof(nil, members{"htu": "canary"}),
		f.proof(nil, members{"iat": "canary"}), f.proof(nil, members{"ath": "canary"}), f.proof(nil, members{"nonce": 1, "jti": "canary"}),
	} {
		err := v.Verify(t.Context(), dpop.Request{Proofs: []string{proof}, Method: "GET", URL: apiURL}, token, f.thumbprint)
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%v", err)
		}
	}
}

// An independent reading of the rules agrees with each proof that is accepted,
// whatever is signed.
func FuzzProof(f *testing.F) {
	forge := newForger(&testing.T{})
	header := mustJSON(&testing.T{}, members{"typ": "dpop+jwt", "alg": "ES256", "jwk": forge.jwk(nil)})
	f.Add(header, mustJSON(&testing.T{}, members{"jti": "a", "htm": "GET", "htu": apiURL, "iat": now, "ath": hash(token)}), "GET", apiURL)
	f.Add(header, mustJSON(&testing.T{}, members{"jti": "a", "htm": "PUT", "htu": "HTTPS://a:443/%2e/b?c", "iat": now - 59.5, "ath": hash(token), "nonce": "n", "exp": now + 5}), "PUT", "https://A/b#d")
	f.Add(strings.Replace(header, "ES256", "none", 1), "{}", "GET", apiURL)
	f.Fuzz(func(t *testing.T, headerText, claimsText, method, url string) {
		proof := forge.sign(headerText, claimsText)
		v := verifier(t, dpop.Config{Clock: at(now), Replay: dpop.NewMemory(64, time.Unix(0, 0))})
		r := dpop.Request{Proofs: []string{proof}, Method: method, URL: url}
		if err := v.Verify(t.Context(), r, token, forge.thumbprint); err != nil {
			if oidc.ReasonOf(err) != oidc.ProofInvalid {
				t.Fatal(err)
			}
			return
		}
		var header, claims map[string]any // whose names have a case
		if err := errors.Join(json.Unmarshal([]byte(headerText), &header), json.Unmarshal([]byte(claimsText), &claims)); err != nil {
			t.Fatal(err)
		}
		iat, _ := claims["iat"].(float64)
		id, _ := claims["jti"].(string)
		htu, _ := claims["htu"].(string)
		ours, err1 := dpop.NormalizeURL(url)
		theirs, err2 := dpop.NormalizeURL(htu)
		typ, _ := header["typ"].(string)
		jwk, _ := header["jwk"].(map[string]any)
		if !strings.HasSuffix(strings.ToLower(typ), "dpop+jwt") || header["alg"] != "ES256" || jwk["d"] != nil ||
			claims["htm"] != method || claims["ath"] != hash(token) || id == "" || iat < now-60 || iat > now+10 ||
			err1 != nil || err2 != nil || ours != theirs {
			t.Fatalf("accepted: %s %s for %s %s", headerText, claimsText, method, url)
		}
		r.Proofs[0] = forge.sign(headerText, claimsText) // another signature, the same proof
		if err := v.Verify(t.Context(), r, token, forge.thumbprint); oidc.ReasonOf(err) != oidc.ProofReplayed {
			t.Fatalf("accepted twice: %v", err)
		}
	})
}
