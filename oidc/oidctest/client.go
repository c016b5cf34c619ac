package oidctest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Client is a client as it is registered with an issuer.
type Client struct {
	ID string
	// Method is how it has to authenticate (OpenID Connect Core 1.0 section 9, RFC
	// 8705): client_secret_basic, client_secret_post, client_secret_jwt,
	// private_key_jwt, tls_client_auth, self_signed_tls_client_auth or none.
	Method string
	Secret string // of the methods that have one
	Keys   []*Key // of private_key_jwt and of signed requests
	// CertSHA256 is the SHA-256 of the certificate's DER, of the TLS methods.
	CertSHA256 [32]byte
	// Audiences are the aud that its assertions may have; nil means the issuer
	// alone.
	Audiences []string
	// RedirectURIs are where browsers may be sent back to.
	RedirectURIs []string
	// RequirePAR wants its authorization requests pushed (RFC 9126), SignedRequests
	// wants them signed with one of Keys (RFC 9101), and DPoP wants all its tokens bound
	// to a key (RFC 9449).
	RequirePAR, SignedRequests, DPoP bool
	// SignedUserInfo and SignedIntrospection sign what those endpoints answer it.
	SignedUserInfo, SignedIntrospection bool
	// RefreshTokens gives it one with each grant that has a user.
	RefreshTokens bool
}

var authMethods = []string{
	"client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt",
	"tls_client_auth", "self_signed_tls_client_auth", "none",
}

// RegisterClient registers a client, in place of one with its ID. It panics on a
// method that does not exist.
func (i *Issuer) RegisterClient(c Client) {
	if c.ID == "" || !slices.Contains(authMethods, c.Method) {
		panic(fmt.Sprintf("oidctest: a client %q with the authentication method %q", c.ID, c.Method))
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.state.clients == nil {
		i.state.clients = map[string]*Client{}
	}
	i.state.clients[c.ID] = &c
}

// Refusal is an OAuth error answer.
type Refusal struct {
	Status      int // 0 means 400
	Code        string
	Description string
	Header      http.Header
	Members     map[string]any // further members
}

func (r *Refusal) write(w http.ResponseWriter) {
	for name, values := range r.Header {
		w.Header()[name] = values
	}
	body := map[string]any{"error": r.Code}
	if r.Description != "" {
		body["error_description"] = r.Description
	}
	override(body, r.Members)
	status := r.Status
	if status == 0 {
		status = http.StatusBadRequest
	}
	writeJSON(w, status, body)
}

// writeJSON answers as RFC 6749 section 5.1 wants it.
func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(mustJSON(body)) //nolint:gosec // JSON, and named so
}

// authenticate returns the client that a request is from, by exactly the method
// that it is registered with. The request's form was parsed.
func (i *Issuer) authenticate(r *http.Request) (*Client, *Refusal) {
	refuse := func(why string) (*Client, *Refusal) {
		refusal := &Refusal{Status: http.StatusUnauthorized, Code: "invalid_client", Description: why}
		if r.Header.Get("Authorization") != "" {
			refusal.Header = http.Header{"Www-Authenticate": {"Basic"}}
		}
		return nil, refusal
	}
	form := r.PostForm
	id, secret, method := form.Get("client_id"), form.Get("client_secret"), "none"
	name, password, basic := r.BasicAuth()
	switch {
	case basic:
		if secret != "" || form.Has("client_assertion") {
			return refuse("two ways of authentication")
		}
		var err1, err2 error
		id, err1 = url.QueryUnescape(name)
		secret, err2 = url.QueryUnescape(password)
		if err1 != nil || err2 != nil {
			return refuse("credentials that are not form-encoded")
		}
		method = "client_secret_basic"
	case form.Has("client_assertion"):
		method = "assertion"
	case secret != "":
		method = "client_secret_post"
	case r.TLS != nil && len(r.TLS.PeerCertificates) > 0 && strings.HasPrefix(r.URL.Path, mtlsPrefix+"/"):
		method = "tls"
	}
	i.mu.Lock()
	client := i.state.clients[id]
	i.mu.Unlock()
	if client == nil {
		return refuse("no such client")
	}
	switch client.Method {
	case "tls_client_auth", "self_signed_tls_client_auth":
		if method != "tls" {
			return refuse("no certificate, or not at the alias for one")
		}
		if sha256.Sum256(r.TLS.PeerCertificates[0].Raw) != client.CertSHA256 {
			return refuse("another certificate")
		}
	case "client_secret_jwt", "private_key_jwt":
		if method != "assertion" || form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
			return refuse("no assertion")
		}
		if err := i.checkAssertion(client, form.Get("client_assertion")); err != nil {
			return refuse(err.Error())
		}
	case "none":
		if method != "none" && method != "tls" {
			return refuse("a public client that has credentials")
		}
	default:
		if method != client.Method {
			return refuse("another method than registered")
		}
		if !hmac.Equal([]byte(secret), []byte(client.Secret)) {
			return refuse("wrong secret")
		}
	}
	return client, nil
}

// checkAssertion holds a client assertion to RFC 7523 section 3.
func (i *Issuer) checkAssertion(client *Client, assertion string) error {
	_, claims, err := verifyJWT(assertion, client)
	if err != nil {
		return err
	}
	if claims["iss"] != client.ID || claims["sub"] != client.ID {
		return fmt.Errorf("iss or sub is not the client")
	}
	audiences := client.Audiences
	if audiences == nil {
		audiences = []string{i.URL}
	}
	if aud, _ := claims["aud"].(string); !slices.Contains(audiences, aud) {
		return fmt.Errorf("aud %q", aud)
	}
	now := i.clock()
	exp, _ := claims["exp"].(float64)
	if end := time.Unix(int64(exp), 0); !now.Before(end) || end.After(now.Add(time.Hour)) {
		return fmt.Errorf("exp is over, or too far away")
	}
	jti, _ := claims["jti"].(string)
	i.mu.Lock()
	defer i.mu.Unlock()
	if jti == "" || i.state.jtis[jti] {
		return fmt.Errorf("an assertion without jti, or one that was used before")
	}
	if i.state.jtis == nil {
		i.state.jtis = map[string]bool{}
	}
	i.state.jtis[jti] = true
	return nil
}

// parseJWT takes a JWT apart. Nothing in it is verified.
func parseJWT(token string) (header, claims map[string]any, input, signature []byte, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, nil, nil, nil, fmt.Errorf("not a JWT")
	}
	for n, into := range []*map[string]any{&header, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[n])
		if err == nil {
			err = json.Unmarshal(text, into)
		}
		if err != nil {
			return nil, nil, nil, nil, fmt.Errorf("not a JWT: %w", err)
		}
	}
	if signature, err = base64.RawURLEncoding.DecodeString(parts[2]); err != nil {
		return nil, nil, nil, nil, fmt.Errorf("not a JWT: %w", err)
	}
	return header, claims, []byte(parts[0] + "." + parts[1]), signature, nil
}

// verifyJWT returns what is in a JWT that a client signed.
func verifyJWT(token string, client *Client) (header, claims map[string]any, err error) {
	header, claims, input, signature, err := parseJWT(token)
	if err != nil {
		return nil, nil, err
	}
	keys := client.Keys
	if client.Method == "client_secret_jwt" {
		keys = []*Key{{Algorithm: "HS256", secret: []byte(client.Secret)}}
	}
	if !verifiedBy(keys, header, input, signature) {
		return nil, nil, fmt.Errorf("bad signature")
	}
	return header, claims, nil
}

// verifiedBy reports whether one of some keys, the one that a JWT's header names,
// made its signature.
func verifiedBy(keys []*Key, header map[string]any, input, signature []byte) bool {
	kid, _ := header["kid"].(string)
	return slices.ContainsFunc(keys, func(k *Key) bool {
		return k.ID == kid && k.Algorithm == header["alg"] && k.verifies(input, signature)
	})
}

// Signer is the private key, for clients that sign with it.
func (k *Key) Signer() crypto.Signer { return k.private }

// verifies reports whether the key made a signature.
func (k *Key) verifies(input, signature []byte) bool {
	if k.secret != nil {
		mac := hmac.New(sha256.New, k.secret)
		mac.Write(input)
		return hmac.Equal(mac.Sum(nil), signature)
	}
	return k.verifyBy(k.Public(), input, signature)
}

// verifyBy reports whether the owner of a public key made a signature by k's
// algorithm.
func (k *Key) verifyBy(public crypto.PublicKey, input, signature []byte) bool {
	hash := k.hash()
	h := hash.New()
	h.Write(input)
	digest := h.Sum(nil)
	switch pub := public.(type) {
	case *rsa.PublicKey:
		if k.Algorithm[0] == 'P' {
			return rsa.VerifyPSS(pub, hash, digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
		return rsa.VerifyPKCS1v15(pub, hash, digest, signature) == nil
	case *ecdsa.PublicKey:
		size := (pub.Curve.Params().BitSize + 7) / 8
		return len(signature) == 2*size &&
			ecdsa.Verify(pub, digest, new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:]))
	case ed25519.PublicKey:
		return ed25519.Verify(pub, input, signature)
	default:
		return false
	}
}
