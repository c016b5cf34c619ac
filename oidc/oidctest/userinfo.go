package oidctest

import (
	"maps"
	"net/http"
	"strings"
)

// SetUserInfo sets what the userinfo endpoint says of users, beside sub. [Omit]
// takes a claim away, sub too.
func (i *Issuer) SetUserInfo(claims map[string]any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.state.userInfo = maps.Clone(claims)
}

// serveUserInfo is the userinfo endpoint (OpenID Connect Core 1.0 section 5.3): for
// access tokens of this issuer, a bound one with its proof. The answer is signed
// for clients that are registered so.
func (i *Issuer) serveUserInfo(w http.ResponseWriter, r *http.Request) {
	refuse := func(scheme, code string) {
		(&Refusal{Status: http.StatusUnauthorized, Code: code, Header: http.Header{"Www-Authenticate": {scheme + ` error="` + code + `"`}}}).write(w)
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	claims, err := i.verifyOwn(token)
	if err != nil || i.isRevoked(token) {
		refuse("Bearer", "invalid_token")
		return
	}
	cnf, _ := claims["cnf"].(map[string]any)
	bound := text(cnf, "jkt")
	thumbprint, refusal := i.checkProof(w, r)
	switch {
	case refusal != nil:
		refuse("DPoP", refusal.Code)
		return
	case bound != thumbprint || (scheme == "DPoP") != (bound != ""):
		refuse("DPoP", "invalid_token")
		return
	}
	answer := map[string]any{"sub": claims["sub"]}
	i.mu.Lock()
	override(answer, i.state.userInfo)
	client := i.state.clients[text(claims, "client_id")]
	i.mu.Unlock()
	if client == nil || !client.SignedUserInfo {
		writeJSON(w, http.StatusOK, answer)
		return
	}
	// typ JWT and aud the client, as in an ID token, but nothing else of it.
	for _, name := range []string{"iat", "exp"} {
		answer[name] = Omit
	}
	w.Header().Set("Content-Type", "application/jwt")
	_, _ = w.Write([]byte(i.IDToken(client.ID, answer)))
}
