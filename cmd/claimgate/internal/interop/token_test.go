package interop_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// oneShot keeps no connection, neither to a provider that ends nor beyond a test.
var oneShot = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// send sends a request and returns the body of the answer, which must have the status.
func send(t *testing.T, client *http.Client, r *http.Request, status int) []byte {
	t.Helper()
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != status {
		t.Fatalf("%s %s: %s, want %d\n%s", r.Method, r.URL, answer.Status, status, body)
	}
	return body
}

// call is send for an answer that is a JSON object.
func call(t *testing.T, client *http.Client, r *http.Request, status int) map[string]any {
	t.Helper()
	body := send(t, client, r, status)
	var object map[string]any
	if err := json.Unmarshal(body, &object); err != nil {
		t.Fatalf("%s %s: %v\n%s", r.Method, r.URL, err, body)
	}
	return object
}

// tokens asks a token endpoint, with a client's secret in the Authorization header.
func tokens(t *testing.T, endpoint, client, secret string, form url.Values) map[string]any {
	t.Helper()
	r := request(t, http.MethodPost, endpoint, "application/x-www-form-urlencoded", form.Encode())
	r.SetBasicAuth(client, secret)
	return call(t, oneShot, r, http.StatusOK)
}

// request makes one; contentType is "" for one without a body.
func request(t *testing.T, method, url, contentType, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return r
}

// textOf is a member that must be a text.
func textOf(t *testing.T, object map[string]any, name string) string {
	t.Helper()
	s, ok := object[name].(string)
	if !ok {
		t.Fatalf("there is no %s in %v", name, object)
	}
	return s
}

// endpoint is one that the provider's metadata name.
func endpoint(t *testing.T, issuer, name string) string {
	t.Helper()
	r := request(t, http.MethodGet, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration", "", "")
	return textOf(t, call(t, oneShot, r, http.StatusOK), name)
}

// claimsOf shows what a token says, for messages.
func claimsOf(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "not those of a JWT"
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return err.Error()
	}
	return string(claims)
}

// tampered is a token with another signature.
func tampered(token string) string {
	i := strings.LastIndexByte(token, '.') + 10
	other := byte('A')
	if token[i] == other {
		other = 'B'
	}
	return token[:i] + string(other) + token[i+1:]
}

// newKey makes a key that a provider signs with.
func newKey(t *testing.T, id string) jose.JSONWebKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: key, KeyID: id, Algorithm: string(jose.RS256), Use: "sig"}
}

// writeKeys writes a set of private keys for a provider, which signs with the first.
func writeKeys(t *testing.T, file string, keys ...jose.JSONWebKey) {
	t.Helper()
	b, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	// In one step: a provider may be reading it.
	if err := os.WriteFile(file+".new", b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// callback is where a provider sends a browser back to. Nobody listens there: the code
// stands in the address.
const callback = "http://127.0.0.1/callback"

var (
	formTag   = regexp.MustCompile(`(?is)<form[^>]*>.*?</form>`)
	inputTag  = regexp.MustCompile(`(?i)<(?:input|button)[^>]*>`)
	attribute = regexp.MustCompile(`([A-Za-z]+)\s*=\s*"([^"]*)"`)
)

// logIn goes through the pages of a provider as a person with a browser does, and
// returns what its authorization endpoint sends to the client. The fields are what the
// person fills in.
func logIn(t *testing.T, endpoint string, query url.Values, fields map[string]string) url.Values {
	t.Helper()
	return browse(t, oneShot.Transport, endpoint+"?"+query.Encode(), callback, fields).URL.Query()
}

// browse is logIn for the URL of a request. It returns the request with which the
// browser comes back to the client; nil, after the last form, if that is nowhere.
func browse(t *testing.T, transport http.RoundTripper, address, redirectURI string, fields map[string]string) *http.Request {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	var back *http.Request
	browser := &http.Client{Jar: jar, Transport: transport, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if redirectURI != "" && strings.HasPrefix(r.URL.String(), redirectURI+"?") {
			back = r
			return http.ErrUseLastResponse
		}
		return nil
	}}
	next := request(t, http.MethodGet, address, "", "")
	for range 8 { // pages at most
		next.Header.Set("Accept", "text/html")
		answer, err := browser.Do(next)
		if err != nil {
			t.Fatal(err)
		}
		page, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if back != nil {
			return back
		}
		form := formTag.FindString(string(page))
		if form == "" && redirectURI == "" && answer.StatusCode == http.StatusOK {
			return nil
		}
		if form == "" {
			t.Fatalf("%s: %s, and no form:\n%s", answer.Request.URL, answer.Status, page)
		}
		action, values := fillIn(form, fields)
		target, err := answer.Request.URL.Parse(action)
		if err != nil {
			t.Fatal(err)
		}
		next = request(t, http.MethodPost, target.String(), "application/x-www-form-urlencoded", values.Encode())
		if target.String() == redirectURI { // the response mode form_post
			return next
		}
	}
	t.Fatal("there is no end of forms")
	return nil
}

// fillIn reads a form and returns where it is to be sent, and what.
func fillIn(form string, fields map[string]string) (action string, values url.Values) {
	attributes := func(tag string) map[string]string {
		m := map[string]string{}
		for _, a := range attribute.FindAllStringSubmatch(tag, -1) {
			m[strings.ToLower(a[1])] = html.UnescapeString(a[2])
		}
		return m
	}
	values = url.Values{}
	for _, tag := range inputTag.FindAllString(form, -1) {
		if a := attributes(tag); a["name"] != "" {
			values.Set(a["name"], a["value"])
		}
	}
	for name, value := range fields {
		switch {
		case value == "": // a button that nobody presses
			values.Del(name)
		case values.Has(name):
			values.Set(name, value)
		}
	}
	tag, _, _ := strings.Cut(form, ">")
	return attributes(tag)["action"], values
}

// idToken logs a person in at a client, by code and PKCE, and returns the ID token. It
// has the nonce if the client asks for one; without, few providers put a mark into it.
func idToken(t *testing.T, issuer, client, secret, nonce string, fields map[string]string) string {
	t.Helper()
	const verifier = "a-verifier-that-is-long-enough-for-rfc-7636-section-4.1"
	query := url.Values{
		"client_id": {client}, "response_type": {"code"}, "scope": {"openid"}, "redirect_uri": {callback},
		"state": {"s"}, "code_challenge": {challengeOf(verifier)}, "code_challenge_method": {"S256"},
	}
	if nonce != "" {
		query.Set("nonce", nonce)
	}
	back := logIn(t, endpoint(t, issuer, "authorization_endpoint"), query, fields)
	if back.Get("code") == "" {
		t.Fatalf("the provider sends no code but %v", back)
	}
	return textOf(t, tokens(t, endpoint(t, issuer, "token_endpoint"), client, secret, url.Values{
		"grant_type": {"authorization_code"}, "code": {back.Get("code")}, "redirect_uri": {callback}, "code_verifier": {verifier},
	}), "id_token")
}

// challengeOf is the S256 code challenge of a verifier (RFC 7636 section 4.2).
func challengeOf(verifier string) string {
	hash := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(hash[:])
}
