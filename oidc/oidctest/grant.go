package oidctest

import (
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// GrantRequest is a request to the token endpoint whose client has proved who it
// is.
type GrantRequest struct {
	Issuer        *Issuer
	Client        *Client
	*http.Request // with PostForm
	// Thumbprint is that of the key which the request proves (RFC 9449), "" without a
	// proof. The tokens of its answer are bound to it.
	Thumbprint string
}

// GrantFunc answers the token requests of one grant type: with the members of a
// good answer, or with a refusal. It is called by several goroutines.
type GrantFunc func(GrantRequest) (map[string]any, *Refusal)

// HandleGrant lets f answer the token requests of a grant type, in place of what
// the issuer does by itself: client credentials, refresh, device, CIBA, token
// exchange and JWT bearer.
func (i *Issuer) HandleGrant(grantType string, f GrantFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.state.grants[grantType] = f
}

// builtinGrants are the grants that an issuer has from the beginning.
func builtinGrants() map[string]GrantFunc {
	return map[string]GrantFunc{
		"client_credentials": clientCredentials,
		"refresh_token":      refresh,
		"authorization_code": exchangeCode,
		"urn:ietf:params:oauth:grant-type:device_code":    poll("device_code"),
		"urn:openid:params:grant-type:ciba":               poll("auth_req_id"),
		"urn:ietf:params:oauth:grant-type:token-exchange": exchange,
		"urn:ietf:params:oauth:grant-type:jwt-bearer":     jwtBearer,
	}
}

// serveToken is the token endpoint (RFC 6749 section 3.2).
func (i *Issuer) serveToken(w http.ResponseWriter, r *http.Request) {
	client, refusal := i.clientRequest(w, r)
	if refusal != nil {
		refusal.write(w)
		return
	}
	thumbprint, refusal := i.checkProof(w, r)
	if refusal == nil && thumbprint == "" && client.DPoP {
		refusal = &Refusal{Code: "invalid_dpop_proof", Description: "no proof"}
	}
	if refusal != nil {
		refusal.write(w)
		return
	}
	grantType := r.PostForm.Get("grant_type")
	i.mu.Lock()
	grant := i.state.grants[grantType]
	i.mu.Unlock()
	if grant == nil {
		(&Refusal{Code: "unsupported_grant_type"}).write(w)
		return
	}
	answer, refusal := grant(GrantRequest{i, client, r, thumbprint})
	if refusal != nil {
		refusal.write(w)
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

// repeatable are the parameters that may come more than once (RFC 8707, RFC 8693).
var repeatable = []string{"resource", "audience"}

// clientRequest reads a form POST of a client, and says which client it is.
func (i *Issuer) clientRequest(w http.ResponseWriter, r *http.Request) (*Client, *Refusal) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	if r.Method != http.MethodPost || r.URL.RawQuery != "" {
		return nil, &Refusal{Status: http.StatusMethodNotAllowed, Code: "invalid_request", Description: "not a plain POST"}
	}
	if err := r.ParseForm(); err != nil {
		return nil, &Refusal{Code: "invalid_request", Description: "no form"}
	}
	for name, values := range r.PostForm {
		if len(values) > 1 && !slices.Contains(repeatable, name) { // RFC 6749 section 3.2
			return nil, &Refusal{Code: "invalid_request", Description: name + " comes twice"}
		}
	}
	return i.authenticate(r)
}

// session is what a refresh token stands for.
type session struct {
	client  string
	subject string
	scope   string
	over    bool // a refresh token or the code of it came twice

	claims     map[string]any // of its ID tokens
	resources  []string       // aud of its access tokens
	details    string         // authorization_details, as JSON
	thumbprint string         // of the key that its refresh tokens are bound to: those of a public client
}

// TokenAnswer is the answer to a grant: a Bearer access token for a subject, with
// the audiences and resources that the request names.
func (g GrantRequest) TokenAnswer(subject string) map[string]any {
	return g.answer(map[string]any{"sub": subject}, g.PostForm)
}

// answer is TokenAnswer with these claims, for what form asks for.
func (g GrantRequest) answer(claims map[string]any, form url.Values) map[string]any {
	claims["client_id"] = g.Client.ID
	if aud := append(slices.Clone(form["resource"]), form["audience"]...); len(aud) > 0 {
		claims["aud"] = aud
	}
	answer := map[string]any{"token_type": "Bearer", "expires_in": int(Lifetime.Seconds())}
	if scope := form.Get("scope"); scope != "" {
		claims["scope"], answer["scope"] = scope, scope
	}
	if g.Thumbprint != "" {
		claims["cnf"], answer["token_type"] = map[string]any{"jkt": g.Thumbprint}, "DPoP"
	}
	answer["access_token"] = g.Issuer.Token(claims)
	return answer
}

func clientCredentials(g GrantRequest) (map[string]any, *Refusal) {
	if g.Client.Method == "none" {
		return nil, &Refusal{Code: "unauthorized_client", Description: "a public client has no credentials"}
	}
	return g.TokenAnswer(g.Client.ID), nil
}

// UserAnswer is [GrantRequest.TokenAnswer] for a user: with an ID token if the scope
// has openid, and with a refresh token if the client gets them.
func (g GrantRequest) UserAnswer(subject string) map[string]any {
	return g.sessionAnswer(&session{client: g.Client.ID, subject: subject, scope: g.PostForm.Get("scope")})
}

func (g GrantRequest) sessionAnswer(s *session) map[string]any {
	form := url.Values{"scope": {s.scope}, "resource": s.resources}
	for name, values := range g.PostForm {
		form[name] = values
	}
	answer := g.answer(map[string]any{"sub": s.subject}, form)
	if s.details != "" {
		answer["authorization_details"] = json.RawMessage(s.details)
	}
	if slices.Contains(strings.Fields(s.scope), "openid") {
		answer["id_token"] = g.sessionIDToken(s, answer)
	}
	if g.Client.RefreshTokens {
		answer["refresh_token"] = g.Issuer.newRefreshToken(s)
	}
	return answer
}

// sessionIDToken mints the ID token that goes with an answer.
func (g GrantRequest) sessionIDToken(s *session, answer map[string]any) string {
	i := g.Issuer
	accessToken, _ := answer["access_token"].(string)
	claims := map[string]any{"sub": s.subject, "at_hash": accessTokenHash(i.SigningKey().Algorithm, accessToken)}
	maps.Copy(claims, s.claims)
	if g.PostForm.Get("grant_type") == "refresh_token" {
		delete(claims, "nonce") // OpenID Connect Core 1.0 section 12.2
	}
	i.mu.Lock()
	change := i.state.changeIDToken
	i.mu.Unlock()
	if change != nil {
		change(claims)
	}
	return i.IDToken(s.client, claims)
}

// RefreshToken makes a refresh token as a login would.
func (i *Issuer) RefreshToken(client, subject, scope string) string {
	return i.newRefreshToken(&session{client: client, subject: subject, scope: scope})
}

func (i *Issuer) newRefreshToken(s *session) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	token := "refresh-" + rand.Text()
	if i.state.refreshTokens == nil {
		i.state.refreshTokens, i.state.spent = map[string]*session{}, map[string]*session{}
	}
	i.state.refreshTokens[token] = s
	return token
}

// refresh rotates: each refresh token is good once, and one that comes twice ends
// the session (RFC 9700 section 4.14.2).
func refresh(g GrantRequest) (map[string]any, *Refusal) {
	token := g.PostForm.Get("refresh_token")
	i := g.Issuer
	i.mu.Lock()
	s, again := i.state.refreshTokens[token], i.state.spent[token]
	if again != nil {
		again.over = true
	}
	good := s != nil && !s.over && s.client == g.Client.ID &&
		(g.Client.Method != "none" || s.thumbprint == g.Thumbprint) // RFC 9449 section 5
	if good && g.Client.RefreshTokens {
		delete(i.state.refreshTokens, token)
		i.state.spent[token] = s
	}
	i.mu.Unlock()
	if !good {
		return nil, &Refusal{Code: "invalid_grant", Description: "no such refresh token: " + token}
	}
	for _, scope := range strings.Fields(g.PostForm.Get("scope")) {
		if !slices.Contains(strings.Fields(s.scope), scope) {
			return nil, &Refusal{Code: "invalid_scope"}
		}
	}
	return g.sessionAnswer(s), nil
}

// IDToken mints an ID token for a client (OpenID Connect Core 1.0 section 2), as
// [Issuer.Token] does an access token: typ JWT, aud the client.
func (i *Issuer) IDToken(client string, claims map[string]any, opts ...TokenOption) string {
	all := map[string]any{"aud": client, "client_id": Omit, "jti": Omit}
	for name, value := range claims {
		all[name] = value
	}
	return i.Token(all, append([]TokenOption{Header("typ", "JWT")}, opts...)...)
}
