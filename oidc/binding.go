package oidc

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
)

// Proof is what a request offers beside its token, in proof that the sender has
// the key or certificate that the token is bound to by its claim cnf (RFC 7800).
// A token can be bound to both; then both are demanded. One that is bound in a
// way that is not known here is refused, as is a bound token whose proof is not
// offered: the zero Proof offers none.
//
// A proof is of one request. It is never cached.
type Proof struct {
	// DPoP judges the request's DPoP proof (RFC 9449). It is set if, and only if,
	// the token came by the authentication scheme DPoP: a token that is bound to a
	// key is refused without it, as one that was stolen and sent as a bearer token;
	// and a token that is not bound to a key is refused with it (RFC 9449 section
	// 7.2).
	//
	// It is called last, after everything else about the token was good, with the
	// token and the thumbprint of the key it is bound to. An [*Error] of it is the
	// refusal; any other error has the reason [Internal]. The package oidc/dpop has
	// what it takes.
	DPoP func(ctx context.Context, token, thumbprint string) error
	// CertSHA256 is the SHA-256 of the client certificate, of its DER, for tokens
	// that are bound to one (RFC 8705 section 3). Nil means that the client showed
	// none. It must come from the TLS connection, or from a hop that is trusted and
	// replaces what clients send.
	CertSHA256 []byte
}

// The confirmation methods that can be proven (RFC 9449 section 6.1, RFC 8705
// section 3.1).
const (
	confirmKey  = "jkt"
	confirmCert = "x5t#S256"
)

// check holds a verified token to its bindings.
func (p Proof) check(ctx context.Context, token string, tok *Token, ex explainer) error {
	refuse := func(reason Reason, why string) error {
		return ex.fail("binding", &Error{Reason: reason, Claim: "cnf", IssuerName: tok.IssuerName, Token: tok, Err: errors.New(why)})
	}
	if !tok.bound {
		if p.DPoP != nil {
			return refuse(BindingMismatch, "the token came by the scheme DPoP, and is not bound to a key")
		}
		ex.ok("binding", "the token is not bound to a key (no cnf)")
		return nil
	}
	cnf, _ := tok.Claims.Top("cnf")
	thumbprint, certificate := "", ""
	methods := 0
	for name, value := range cnf.Members() {
		if value.Kind() == KindNull {
			continue
		}
		methods++
		switch name {
		case confirmKey:
			thumbprint = value.Text()
		case confirmCert:
			certificate = value.Text()
		default:
			return refuse(ProofMissing, "the token is bound in a way that cannot be proven here")
		}
		if value.Kind() != KindString || value.Text() == "" {
			return refuse(ProofMissing, "the member "+name+" says nothing that could be proven")
		}
	}
	switch {
	case methods == 0:
		return refuse(ProofMissing, "the token is bound to something, and does not say to what")
	case certificate != "" && p.CertSHA256 == nil:
		return refuse(ProofMissing, "the token is bound to a certificate, and the client showed none here")
	case thumbprint != "" && p.DPoP == nil:
		return refuse(ProofMissing, "the token is bound to a key, and came without a DPoP proof")
	case thumbprint == "" && p.DPoP != nil:
		return refuse(BindingMismatch, "the token came by the scheme DPoP, and is not bound to a key")
	case certificate != "" && !isDigest(certificate, p.CertSHA256):
		return refuse(BindingMismatch, "the token is bound to another certificate")
	}
	if thumbprint != "" {
		if err := p.DPoP(ctx, token, thumbprint); err != nil {
			return ex.fail("binding", proofError(err, tok))
		}
	}
	if ex != nil {
		ex.ok("binding", "the token is bound by %s, and that is proven", boundBy(thumbprint, certificate))
	}
	return nil
}

// isDigest compares a SHA-256 in base64url with its bytes, in a time that does
// not depend on them.
func isDigest(text string, sum []byte) bool {
	return len(sum) == sha256.Size &&
		subtle.ConstantTimeCompare([]byte(text), []byte(base64.RawURLEncoding.EncodeToString(sum))) == 1
}

// proofError adds to an error of a DPoP check whose token it was.
func proofError(err error, tok *Token) *Error {
	e := Error{Reason: Internal, Err: fmt.Errorf("checking the DPoP proof: %w", err)}
	var refusal *Error
	if errors.As(err, &refusal) {
		e = *refusal
	}
	if e.Reason.Class() == ClassAllow {
		e.Reason = Internal
	}
	e.IssuerName, e.Token = tok.IssuerName, tok
	return &e
}

func boundBy(thumbprint, certificate string) string {
	switch {
	case certificate == "":
		return confirmKey
	case thumbprint == "":
		return confirmCert
	}
	return confirmKey + " and " + confirmCert
}
