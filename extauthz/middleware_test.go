package extauthz

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/middleware"
)

// mirrored counts the checks of the transcripts that the middleware answered too.
var mirrored = map[oidc.Reason]int{}

// compareMiddleware asks the middleware what the gate was asked, under the rules
// of the policy that decided, and holds both to one answer. It leaves out what
// only the gate has: rules on paths, roles and claims, other places for tokens.
func (s *script) compareMiddleware(ctx context.Context, name string, attributes *authv3.AttributeContext_HttpRequest, resp *authv3.CheckResponse) {
	fields := resp.GetDynamicMetadata().GetFields()
	reason := oidc.Reason(fields["reason"].GetStringValue())
	p := s.server.gate.set.Load().byName[fields["policy"].GetStringValue()]
	if p == nil || !inMiddleware(p, reason) {
		return
	}
	mirrored[reason]++
	guard, err := middleware.New(middleware.Config{
		Validator: s.server.gate.set.Load().validator, Issuers: p.requirement.Issuers, Audiences: p.requirement.Audiences,
		Scopes: p.scopes, Optional: p.access == AccessOptional,
		Realm: p.challenge.Realm, ResourceMetadata: p.challenge.ResourceMetadata,
		Clock: func() time.Time { return s.now }, Wait: time.Minute,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	r := (&http.Request{Method: attributes.GetMethod(), URL: &url.URL{Path: "/"}, RequestURI: attributes.GetPath(), Header: http.Header{}}).WithContext(ctx)
	for _, h := range attributes.GetHeaderMap().GetHeaders() {
		r.Header.Add(h.GetKey(), string(h.GetRawValue()))
	}
	w := httptest.NewRecorder()
	var token *oidc.Token
	guard.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		token, _ = middleware.TokenFrom(r.Context())
	})).ServeHTTP(w, r)

	want := http.Header{}
	status, body := 200, ""
	if denied := resp.GetDeniedResponse(); denied != nil {
		status, body = int(denied.GetStatus().GetCode()), denied.GetBody()
		for _, h := range denied.GetHeaders() {
			want.Add(h.GetHeader().GetKey(), h.GetHeader().GetValue())
		}
	}
	subject := ""
	if token != nil {
		subject = token.Subject
	}
	if w.Code != status || w.Body.String() != body || subject != fields["subject"].GetStringValue() {
		s.t.Errorf("%s: the gate answers %d %s %q, the middleware %d %s %q", name, status, body, fields["subject"].GetStringValue(), w.Code, w.Body, subject)
	}
	for _, header := range []string{"Www-Authenticate", "Content-Type", "Cache-Control", "Retry-After"} {
		if got := w.Result().Header.Values(header); !slices.Equal(got, want.Values(header)) { //nolint:bodyclose // of a recorder
			s.t.Errorf("%s: %s of the gate is %q, of the middleware %q", name, header, want.Values(header), got)
		}
	}
}

// inMiddleware reports whether the middleware can have the rules of a policy, and
// the reason comes from them.
func inMiddleware(p *policy, reason oidc.Reason) bool {
	plain := len(p.sources) == 1 && p.sources[0].kind == fromHeader && p.sources[0].name == "authorization" && p.sources[0].scheme == "Bearer"
	if !plain || p.access == AccessDeny || p.access == AccessPublic ||
		p.tenant != nil || len(p.anyScope) > 0 || len(p.roles) > 0 || len(p.claims) > 0 || p.when != nil {
		return false
	}
	switch reason {
	case oidc.CORSPreflight, oidc.AmbiguousPath, oidc.IdentityTooLarge, oidc.Deadline:
		return false
	}
	return true
}

// The transcripts have enough of what the two share.
func checkMirrored(t *testing.T) {
	t.Helper()
	var seen []string
	for _, reason := range []oidc.Reason{
		oidc.ValidToken, oidc.Anonymous, oidc.MissingToken, oidc.MalformedCredentials, oidc.MultipleCredentials, oidc.MalformedToken,
		oidc.TokenTooLarge, oidc.UnsupportedAlgorithm, oidc.UnknownIssuer, oidc.IssuerNotAccepted, oidc.WrongTokenType, oidc.Expired, oidc.NotYetValid,
		oidc.WrongAudience, oidc.UnknownKey, oidc.BadSignature, oidc.InvalidClaim, oidc.ProofMissing, oidc.InsufficientScope, oidc.KeysUnavailable,
	} {
		if mirrored[reason] == 0 {
			seen = append(seen, string(reason))
		}
	}
	if len(seen) > 0 {
		t.Errorf("no transcript compares the middleware's answer for %s", strings.Join(seen, ", "))
	}
}
