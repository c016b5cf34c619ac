package oidctest

import (
	"net/http"
	"strings"
)

// serveIntrospection is the introspection endpoint (RFC 7662): for access and
// refresh tokens of this issuer. The answer is signed (RFC 9701) for clients that
// are registered so.
func (i *Issuer) serveIntrospection(w http.ResponseWriter, r *http.Request) {
	client, refusal := i.clientRequest(w, r)
	if refusal == nil && client.Method == "none" { // RFC 7662 section 2.1
		refusal = &Refusal{Status: http.StatusUnauthorized, Code: "invalid_client", Description: "a public client may not ask"}
	}
	if refusal != nil {
		refusal.write(w)
		return
	}
	answer := i.describe(r.PostForm.Get("token"))
	if !client.SignedIntrospection {
		writeJSON(w, http.StatusOK, answer)
		return
	}
	w.Header().Set("Content-Type", "application/token-introspection+jwt")
	_, _ = w.Write([]byte(i.Introspection(client.ID, answer)))
}

// Introspection signs what is said of a token (RFC 9701 section 5): typ
// token-introspection+jwt, aud the one who asks.
func (i *Issuer) Introspection(recipient string, about map[string]any, opts ...TokenOption) string {
	claims := map[string]any{"aud": recipient, "token_introspection": about}
	for _, name := range []string{"sub", "exp", "client_id", "jti"} {
		claims[name] = Omit
	}
	return i.Token(claims, append([]TokenOption{Header("typ", "token-introspection+jwt")}, opts...)...)
}

// describe is what is said of a token: nothing but active of one that is not good.
func (i *Issuer) describe(token string) map[string]any {
	if i.isRevoked(token) {
		return map[string]any{"active": false}
	}
	i.mu.Lock()
	s := i.state.refreshTokens[token]
	good := s != nil && !s.over
	i.mu.Unlock()
	if good {
		return map[string]any{"active": true, "sub": s.subject, "client_id": s.client, "scope": s.scope}
	}
	claims, err := i.verifyOwn(token)
	if err != nil {
		return map[string]any{"active": false}
	}
	claims["active"] = true
	claims["token_type"] = "Bearer"
	if claims["cnf"] != nil {
		claims["token_type"] = "DPoP"
	}
	return claims
}

// serveRevocation is the revocation endpoint (RFC 7009). A client can revoke its own
// tokens only; of others it learns nothing.
func (i *Issuer) serveRevocation(w http.ResponseWriter, r *http.Request) {
	client, refusal := i.clientRequest(w, r)
	if refusal == nil && strings.HasPrefix(r.PostForm.Get("token_type_hint"), "x-") {
		refusal = &Refusal{Code: "unsupported_token_type"}
	}
	if refusal != nil {
		refusal.write(w)
		return
	}
	token := r.PostForm.Get("token")
	claims, err := i.verifyOwn(token)
	i.mu.Lock()
	defer i.mu.Unlock()
	if s := i.state.refreshTokens[token]; s != nil && s.client == client.ID {
		s.over = true
		delete(i.state.refreshTokens, token)
	}
	if err == nil && text(claims, "client_id") == client.ID {
		if i.state.revoked == nil {
			i.state.revoked = map[string]bool{}
		}
		i.state.revoked[token] = true
	}
	w.WriteHeader(http.StatusOK)
}

func (i *Issuer) isRevoked(token string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.state.revoked[token]
}
