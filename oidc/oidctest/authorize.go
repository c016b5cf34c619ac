package oidctest

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"html"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Login is what the user does whose browser comes to the authorization endpoint.
// There is no page in between: the browser is sent back at once.
type Login struct {
	// Subject is who logs in; "" means alice.
	Subject string
	// Claims are further claims of the ID token, such as acr. [Omit] takes a usual one
	// away.
	Claims map[string]any
	// AuthTime is when the user authenticated; zero means now.
	AuthTime time.Time
	// Refuse is the error that the browser comes back with; nil for a login.
	Refuse *Refusal
}

// SetLogin scripts the logins to come. Without it everybody is alice.
func (i *Issuer) SetLogin(l Login) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.state.login = l
}

// ChangeCallback has change alter the parameters with which the browser is sent
// back, before they are signed if they are; nil ends that. So a state becomes
// wrong and an issuer mixed up.
func (i *Issuer) ChangeCallback(change func(url.Values)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.state.changeCallback = change
}

// ChangeIDToken has change alter the claims of ID tokens that logins and refreshes
// bring; nil ends that.
func (i *Issuer) ChangeIDToken(change func(claims map[string]any)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.state.changeIDToken = change
}

// Browse follows the URL of an authorization request, as a browser does, and
// returns the request with which it comes back to the client's redirect URI. It is
// an error if the issuer shows a page of its own in place of that.
func (i *Issuer) Browse(authorizationURL string) (*http.Request, error) {
	browser := &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     i.browserTransport(),
	}
	defer browser.CloseIdleConnections()
	resp, err := browser.Get(authorizationURL)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	switch {
	case resp.StatusCode == http.StatusSeeOther:
		return http.NewRequest(http.MethodGet, resp.Header.Get("Location"), http.NoBody)
	case resp.StatusCode == http.StatusOK && strings.Contains(string(body), "<form"):
		form := url.Values{}
		for _, input := range formInput.FindAllStringSubmatch(string(body), -1) {
			form.Set(html.UnescapeString(input[1]), html.UnescapeString(input[2]))
		}
		r, err := http.NewRequest(http.MethodPost, html.UnescapeString(formAction.FindStringSubmatch(string(body))[1]), strings.NewReader(form.Encode()))
		if err != nil {
			return nil, err
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return r, nil
	default:
		return nil, fmt.Errorf("oidctest: the browser shows status %d: %s", resp.StatusCode, strings.TrimSpace(string(body)))
	}
}

var (
	formAction = regexp.MustCompile(`action="([^"]*)"`)
	formInput  = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)
)

// authorization is what a code stands for.
type authorization struct {
	client, redirectURI string
	challenge           string // PKCE, S256
	thumbprint          string // dpop_jkt, "" if there was none
	used                bool
	session             *session
}

// serveAuthorize is the authorization endpoint (RFC 6749 section 3.1): code with
// PKCE only.
func (i *Issuer) serveAuthorize(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, "not a form", http.StatusBadRequest)
		return
	}
	client, params, refusal := i.authorizationRequest(r.Form)
	if refusal != nil {
		http.Error(w, refusal.Code+": "+refusal.Description, http.StatusBadRequest)
		return
	}
	redirectURI := params.Get("redirect_uri")
	if !client.hasRedirectURI(redirectURI) { // before anything is sent there
		http.Error(w, "invalid_request: redirect_uri is not registered", http.StatusBadRequest)
		return
	}
	answer := url.Values{"iss": {i.URL}}
	if state := params.Get("state"); state != "" {
		answer.Set("state", state)
	}
	i.mu.Lock()
	login, change := i.state.login, i.state.changeCallback
	i.mu.Unlock()
	if refusal = checkAuthorization(params); refusal == nil {
		refusal = login.Refuse
	}
	if refusal != nil {
		answer.Set("error", refusal.Code)
		if refusal.Description != "" {
			answer.Set("error_description", refusal.Description)
		}
	} else {
		answer.Set("code", i.newCode(client, params, login))
	}
	if change != nil {
		change(answer)
	}
	i.sendBack(w, client, redirectURI, params.Get("response_mode"), answer)
}

// hasRedirectURI tells whether a redirect URI is registered. On loopback any port is
// (RFC 8252 section 7.3).
func (c *Client) hasRedirectURI(uri string) bool {
	portless := func(raw string) string {
		u, err := url.Parse(raw)
		if err != nil || u.Scheme != "http" || !net.ParseIP(u.Hostname()).IsLoopback() {
			return raw
		}
		u.Host = u.Hostname()
		return u.String()
	}
	return slices.ContainsFunc(c.RedirectURIs, func(registered string) bool {
		return registered == uri || portless(registered) == portless(uri)
	})
}

// authorizationRequest returns the parameters of a request, wherever they are.
func (i *Issuer) authorizationRequest(form url.Values) (*Client, url.Values, *Refusal) {
	i.mu.Lock()
	client := i.state.clients[form.Get("client_id")]
	uri := form.Get("request_uri")
	pushed := i.state.pushed[uri]
	delete(i.state.pushed, uri) // RFC 9126 section 4: once
	i.mu.Unlock()
	switch {
	case client == nil:
		return nil, nil, &Refusal{Code: "invalid_request", Description: "no such client"}
	case uri != "":
		if pushed.Get("client_id") != client.ID {
			return nil, nil, &Refusal{Code: "invalid_request_uri", Description: "not pushed by this client, or used before"}
		}
		return client, pushed, nil
	case client.RequirePAR:
		return nil, nil, &Refusal{Code: "invalid_request", Description: "the request was not pushed"}
	}
	params, refusal := i.openRequestObject(client, form)
	return client, params, refusal
}

// openRequestObject returns the parameters of a signed request (RFC 9101 section
// 6), or those of one that is not signed.
func (i *Issuer) openRequestObject(client *Client, form url.Values) (url.Values, *Refusal) {
	refuse := func(why string) (url.Values, *Refusal) {
		return nil, &Refusal{Code: "invalid_request_object", Description: why}
	}
	if form.Get("request") == "" {
		if client.SignedRequests {
			return refuse("the request is not signed")
		}
		return form, nil
	}
	byKey := *client
	byKey.Method = "private_key_jwt"
	header, claims, err := verifyJWT(form.Get("request"), &byKey)
	if err != nil {
		return refuse(err.Error())
	}
	exp, _ := claims["exp"].(float64)
	nbf, _ := claims["nbf"].(float64)
	now := float64(i.clock().Unix())
	switch {
	case header["typ"] != "oauth-authz-req+jwt":
		return refuse("typ")
	case claims["iss"] != client.ID || claims["client_id"] != client.ID || claims["aud"] != i.URL:
		return refuse("iss, client_id or aud")
	case exp <= now || exp > nbf+3600 || nbf > now: // FAPI 2.0 Message Signing section 5.3
		return refuse("exp or nbf")
	case claims["request"] != nil || claims["request_uri"] != nil || claims["sub"] != nil:
		return refuse("a claim that must not be there")
	}
	params := url.Values{}
	for name, claim := range claims {
		switch claim := claim.(type) {
		case string:
			params.Set(name, claim)
		case float64:
			params.Set(name, fmt.Sprint(int64(claim)))
		case []any:
			if name == "resource" || name == "audience" {
				for _, v := range claim {
					params.Add(name, fmt.Sprint(v))
				}
				continue
			}
			params.Set(name, string(mustJSON(claim)))
		default:
			params.Set(name, string(mustJSON(claim)))
		}
	}
	return params, nil
}

// checkAuthorization returns what is wrong with a request whose client and redirect
// URI are good.
func checkAuthorization(params url.Values) *Refusal {
	for name, values := range params {
		if len(values) > 1 && !slices.Contains(repeatable, name) {
			return &Refusal{Code: "invalid_request", Description: name + " comes twice"}
		}
	}
	switch {
	case params.Get("response_type") != "code":
		return &Refusal{Code: "unsupported_response_type"}
	case params.Get("code_challenge_method") != "S256" || len(params.Get("code_challenge")) != 43:
		return &Refusal{Code: "invalid_request", Description: "no PKCE with S256"}
	case !slices.Contains(responseModes, params.Get("response_mode")):
		return &Refusal{Code: "invalid_request", Description: "response_mode"}
	case params.Get("prompt") == "none" && params.Get("id_token_hint") == "" && params.Get("login_hint") == "":
		return &Refusal{Code: "login_required"}
	}
	return nil
}

var responseModes = []string{"", "query", "form_post", "jwt", "query.jwt", "form_post.jwt"}

func (i *Issuer) newCode(client *Client, params url.Values, login Login) string {
	subject, at := login.Subject, login.AuthTime
	if subject == "" {
		subject = "alice"
	}
	if at.IsZero() {
		at = i.clock()
	}
	claims := map[string]any{"auth_time": at.Unix()}
	if nonce := params.Get("nonce"); nonce != "" {
		claims["nonce"] = nonce
	}
	maps.Copy(claims, login.Claims)
	code := "code-" + rand.Text()
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.state.codes == nil {
		i.state.codes = map[string]*authorization{}
	}
	i.state.codes[code] = &authorization{
		client: client.ID, redirectURI: params.Get("redirect_uri"), challenge: params.Get("code_challenge"), thumbprint: params.Get("dpop_jkt"),
		session: &session{
			client: client.ID, subject: subject, scope: params.Get("scope"), claims: claims,
			resources: append(slices.Clone(params["resource"]), params["audience"]...), details: params.Get("authorization_details"),
		},
	}
	return code
}

// sendBack sends the browser to the client, in the way that was asked for.
func (i *Issuer) sendBack(w http.ResponseWriter, client *Client, redirectURI, mode string, answer url.Values) {
	if mode == "jwt" || strings.HasSuffix(mode, ".jwt") {
		claims := map[string]any{"sub": Omit, "jti": Omit, "client_id": Omit, "iat": Omit, "aud": client.ID}
		for name := range answer {
			claims[name] = answer.Get(name)
		}
		answer = url.Values{"response": {i.Token(claims, Header("typ", "JWT"))}}
	}
	if strings.HasPrefix(mode, "form_post") {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprintf(w, `<!doctype html><body onload="document.forms[0].submit()"><form method="post" action="%s">`, html.EscapeString(redirectURI))
		for _, name := range slices.Sorted(maps.Keys(answer)) {
			for _, value := range answer[name] {
				_, _ = fmt.Fprintf(w, `<input type="hidden" name="%s" value="%s">`, html.EscapeString(name), html.EscapeString(value))
			}
		}
		_, _ = io.WriteString(w, "</form>")
		return
	}
	separator := "?"
	if strings.Contains(redirectURI, "?") {
		separator = "&"
	}
	w.Header().Set("Location", redirectURI+separator+answer.Encode())
	w.WriteHeader(http.StatusSeeOther)
}

// exchangeCode is the grant of RFC 6749 section 4.1.3. A code that comes twice ends
// the session (RFC 6749 section 10.5).
func exchangeCode(g GrantRequest) (map[string]any, *Refusal) {
	i := g.Issuer
	refuse := func(why string) (map[string]any, *Refusal) {
		return nil, &Refusal{Code: "invalid_grant", Description: why}
	}
	i.mu.Lock()
	a := i.state.codes[g.PostForm.Get("code")]
	again := a != nil && a.used
	if a != nil {
		a.used = true
		a.session.over = a.session.over || again
	}
	i.mu.Unlock()
	sum := sha256.Sum256([]byte(g.PostForm.Get("code_verifier")))
	switch {
	case a == nil || a.client != g.Client.ID:
		return refuse("no such code: " + g.PostForm.Get("code"))
	case again:
		return refuse("the code was used before")
	case g.PostForm.Get("redirect_uri") != a.redirectURI:
		return refuse("another redirect_uri")
	case encode(sum[:]) != a.challenge:
		return refuse("another code_verifier")
	case a.thumbprint != "" && a.thumbprint != g.Thumbprint:
		return refuse("another key than dpop_jkt")
	}
	a.session.thumbprint = g.Thumbprint
	return g.sessionAnswer(a.session), nil
}

// servePAR is the endpoint of RFC 9126.
func (i *Issuer) servePAR(w http.ResponseWriter, r *http.Request) {
	client, refusal := i.clientRequest(w, r)
	var thumbprint string
	if refusal == nil {
		thumbprint, refusal = i.checkProof(w, r)
	}
	params := r.PostForm
	if refusal == nil && params.Has("request_uri") {
		refusal = &Refusal{Code: "invalid_request", Description: "request_uri"}
	}
	for name := range params { // RFC 9126 section 3
		if refusal == nil && params.Has("request") && !slices.Contains(besideRequest, name) {
			refusal = &Refusal{Code: "invalid_request", Description: name + " beside a signed request"}
		}
	}
	if refusal == nil {
		params, refusal = i.openRequestObject(client, params)
	}
	if refusal == nil {
		refusal = checkAuthorization(params)
	}
	if refusal == nil && !slices.Contains(client.RedirectURIs, params.Get("redirect_uri")) {
		refusal = &Refusal{Code: "invalid_request", Description: "redirect_uri is not registered"}
	}
	if refusal == nil && thumbprint != "" && params.Get("dpop_jkt") != thumbprint {
		refusal = &Refusal{Code: "invalid_dpop_proof", Description: "another key than dpop_jkt"}
	}
	if refusal != nil {
		refusal.write(w)
		return
	}
	pushed := url.Values{}
	maps.Copy(pushed, params)
	pushed.Set("client_id", client.ID)
	uri := "urn:ietf:params:oauth:request_uri:" + rand.Text()
	i.mu.Lock()
	if i.state.pushed == nil {
		i.state.pushed = map[string]url.Values{}
	}
	i.state.pushed[uri] = pushed
	i.mu.Unlock()
	writeJSON(w, http.StatusCreated, map[string]any{"request_uri": uri, "expires_in": 60})
}

// besideRequest are the parameters that may go with a signed request that is pushed.
var besideRequest = []string{"request", "client_id", "client_secret", "client_assertion", "client_assertion_type"}

// accessTokenHash is at_hash (OpenID Connect Core 1.0 section 3.1.3.6).
func accessTokenHash(algorithm, token string) string {
	var sum []byte
	switch {
	case strings.HasSuffix(algorithm, "384"):
		h := sha512.Sum384([]byte(token))
		sum = h[:]
	case strings.HasSuffix(algorithm, "256"):
		h := sha256.Sum256([]byte(token))
		sum = h[:]
	default:
		h := sha512.Sum512([]byte(token))
		sum = h[:]
	}
	return encode(sum[:len(sum)/2])
}
