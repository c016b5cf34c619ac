package client

import (
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/claimgate/claimgate/oidc"
)

// Profile is a set of rules that a client keeps to by itself: it refuses a
// configuration, a request and an answer that the rules forbid, whatever the
// provider would let through.
type Profile string

// The profiles. The empty one forbids nothing beyond what this package always does.
const (
	// ProfileFAPI2 is the FAPI 2.0 Security Profile: authorization requests are pushed;
	// the client proves itself with a key or a certificate, and so does whoever uses
	// its tokens (DPoP or certificate-bound); signatures are PS256, ES256 or EdDSA;
	// redirect URIs are https; an answer names its issuer.
	ProfileFAPI2 Profile = "fapi2"
	// ProfileFAPI2MessageSigning is FAPI 2.0 Message Signing on top: authorization
	// requests are signed (JAR), and so are their answers (JARM).
	ProfileFAPI2MessageSigning Profile = "fapi2-message-signing"
)

// profileAlgorithms are those of FAPI 2.0 Security Profile section 5.4.1.
var profileAlgorithms = []oidc.Algorithm{oidc.PS256, oidc.ES256, oidc.EdDSA, oidc.Ed25519}

// check reports each rule that a configuration breaks.
func (p Profile) check(cfg *Config) []error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("Profile %s: "+format, append([]any{string(p)}, args...)...))
	}
	switch p {
	case "":
		return nil
	case ProfileFAPI2, ProfileFAPI2MessageSigning:
	default:
		return []error{fmt.Errorf("there is no Profile %q", string(p))}
	}
	if u, err := url.Parse(cfg.issuer()); err != nil || u.Scheme != "https" {
		fault("Issuer is not an https URL")
	}
	if cfg.Insecure {
		fault("Insecure allows plain http")
	}
	algorithm := func(what string, a oidc.Algorithm) {
		if !slices.Contains(profileAlgorithms, a) {
			fault("%s signs with %s: use PS256, ES256 or EdDSA", what, a)
		}
	}
	switch auth := cfg.Auth.(type) {
	case nil: // is a fault already
	case PrivateKeyJWT:
		algorithm("Auth", auth.Key.Algorithm)
		if auth.EndpointAudience || auth.Audience != "" && auth.Audience != cfg.issuer() {
			fault("the audience of a client assertion is the issuer alone")
		}
	case TLSClientAuth, SelfSignedTLSClientAuth:
	case None:
		fault("a public client is forbidden: use private_key_jwt or tls_client_auth")
	default:
		fault("%s is forbidden: use private_key_jwt or tls_client_auth", auth.Method())
	}
	switch {
	case cfg.DPoP != nil:
		algorithm("DPoP", cfg.DPoP.Algorithm())
	case !usesCertificate(cfg):
		fault("bearer tokens are forbidden: set DPoP, or use a client certificate")
	}
	if cfg.RequestKey.Signer != nil {
		algorithm("RequestKey", cfg.RequestKey.Algorithm)
	} else if p == ProfileFAPI2MessageSigning {
		fault("authorization requests are signed: set RequestKey")
	}
	for _, list := range [][]oidc.Algorithm{cfg.IDTokenAlgorithms, cfg.ResponseAlgorithms, cfg.UserInfoAlgorithms, cfg.IntrospectionAlgorithms} {
		for _, a := range list {
			if !slices.Contains(profileAlgorithms, a) {
				fault("the provider may not sign with %s: there are PS256, ES256 and EdDSA", a)
			}
		}
	}
	return faults
}

// checkProfiled reports whether an authorization request breaks a rule. It chooses
// the response mode if the profile leaves no choice.
func (c *Client) checkProfiled(m *Metadata, p *AuthorizationParams) error {
	profile := c.cfg.Profile
	if profile == "" {
		return nil
	}
	u, err := url.Parse(p.RedirectURI)
	switch {
	case err != nil || u.Scheme != "https":
		return fmt.Errorf("profile %s: RedirectURI is not https", profile)
	case !slices.Contains(m.CodeChallengeMethodsSupported, "S256"):
		return fmt.Errorf("profile %s: the provider's metadata does not say that it supports PKCE with S256", profile)
	case profile != ProfileFAPI2MessageSigning:
		return nil
	case p.ResponseMode == "":
		p.ResponseMode = "jwt"
	case !isSigned(p.ResponseMode):
		return fmt.Errorf("profile %s: ResponseMode %s is not signed: use jwt", profile, p.ResponseMode)
	}
	if c.messages == nil {
		return errNoKeys
	}
	return nil
}

// leeway is the tolerance for the times of messages, as oidc.IssuerConfig has it:
// FAPI 2.0 Security Profile section 5.3.2.1 allows for ten seconds.
func (p Profile) leeway() time.Duration {
	if p == "" {
		return 0 // the usual one
	}
	return 10 * time.Second
}
