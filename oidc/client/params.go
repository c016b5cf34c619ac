package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/claimgate/claimgate/oidc"
)

// TokenParams is what every request for a token can ask for, besides what its grant
// needs. The zero TokenParams asks for what the provider gives by default.
type TokenParams struct {
	// Scopes are the scopes to ask for (RFC 6749 section 3.3).
	Scopes []string
	// Resources are the resources that the token is for, as absolute URIs without
	// fragment (RFC 8707).
	Resources []string
	// Audiences are the parameters audience: RFC 8693 for token exchange, elsewhere
	// an extension that some providers need, such as Auth0.
	Audiences []string
	// AuthorizationDetails is a JSON array of objects, each with a type (RFC 9396).
	AuthorizationDetails json.RawMessage
	// Extra are further parameters, for what a provider has of its own. None may be
	// one that this package sets itself.
	Extra url.Values
}

// reserved are the parameters that this package sets, or that would change which
// request it is: Extra must not have them.
var reserved = map[string]bool{
	// RFC 6749, RFC 7521, RFC 7636
	"grant_type": true, "client_id": true, "client_secret": true, "client_assertion": true, "client_assertion_type": true,
	"assertion": true, "code": true, "code_verifier": true, "redirect_uri": true, "refresh_token": true, "scope": true,
	"username": true, "password": true, "response_type": true, "state": true, "code_challenge": true, "code_challenge_method": true,
	// RFC 7009, RFC 7662, RP-Initiated Logout 1.0
	"post_logout_redirect_uri": true, "logout_hint": true,
	"token": true, "token_type_hint": true,
	// RFC 8628, RFC 8693, RFC 8707, CIBA Core 1.0
	"device_code": true, "auth_req_id": true, "subject_token": true, "subject_token_type": true, "actor_token": true,
	"actor_token_type": true, "requested_token_type": true, "audience": true, "resource": true,
	// RFC 9101, RFC 9126, RFC 9396, RFC 9449, OpenID Connect Core 1.0
	"request": true, "request_uri": true, "authorization_details": true, "dpop_jkt": true, "nonce": true, "response_mode": true,
	"login_hint": true, "login_hint_token": true, "id_token_hint": true, "binding_message": true, "user_code": true, "acr_values": true, "requested_expiry": true,
}

// addExtra adds parameters of the caller's to a form that is complete. allowed
// are reserved ones that this request has no other way to set.
func addExtra(form, extra url.Values, allowed ...string) error {
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		if _, set := form[name]; set || reserved[name] && !slices.Contains(allowed, name) {
			return fmt.Errorf("client: Extra has %q, which is not free: use the field for it", name)
		}
		form[name] = slices.Clone(extra[name])
	}
	return nil
}

// addTo adds the parameters to the form of a request.
func (p TokenParams) addTo(form url.Values) error {
	if len(p.Scopes) > 0 {
		scope, err := joinScopes(p.Scopes)
		if err != nil {
			return err
		}
		form.Set("scope", scope)
	}
	for _, raw := range p.Resources {
		if u, err := url.Parse(raw); err != nil || !u.IsAbs() || strings.Contains(raw, "#") {
			return fmt.Errorf("client: Resources has %q, which is no absolute URI without fragment (RFC 8707)", raw)
		}
		form.Add("resource", raw)
	}
	for _, audience := range p.Audiences {
		if audience == "" {
			return errors.New("client: Audiences has an empty one")
		}
		form.Add("audience", audience)
	}
	if p.AuthorizationDetails != nil {
		if err := checkAuthorizationDetails(p.AuthorizationDetails); err != nil {
			return err
		}
		form.Set("authorization_details", string(p.AuthorizationDetails))
	}
	return addExtra(form, p.Extra)
}

// joinScopes writes a list of scopes as a parameter (RFC 6749 section 3.3).
func joinScopes(scopes []string) (string, error) {
	for _, s := range scopes {
		if s == "" || strings.ContainsFunc(s, func(r rune) bool {
			return r < 0x21 || r > 0x7e || r == '"' || r == '\\'
		}) {
			return "", fmt.Errorf("client: Scopes has %q, which is no scope: one is printable ASCII without space, quote and backslash", s)
		}
	}
	return strings.Join(scopes, " "), nil
}

// checkAuthorizationDetails holds a parameter to RFC 9396 section 2.
func checkAuthorizationDetails(details json.RawMessage) error {
	list, err := oidc.ParseJSON(string(details))
	if err != nil {
		return fmt.Errorf("client: AuthorizationDetails is %w", err)
	}
	if list.Kind() != oidc.KindArray {
		return errors.New("client: AuthorizationDetails is no JSON array")
	}
	for e := range list.Elements() {
		if typ, _ := e.Member("type"); typ.Kind() != oidc.KindString || typ.Text() == "" {
			return errors.New("client: AuthorizationDetails has an element without type")
		}
	}
	return nil
}
