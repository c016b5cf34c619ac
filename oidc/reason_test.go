package oidc_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc"
)

// The rows of the answer contract: each reason has one class, and the class says
// status, challenge and error code.
func TestEveryReasonIsAnsweredAsItsClass(t *testing.T) {
	rows := []struct {
		status    int
		challenge string // "" = none
		kind      error  // what errors.Is says, nil for an allow
		reasons   string
	}{
		{200, "", nil, "valid_token anonymous public cors_preflight"},
		{401, `Bearer realm="r"`, oidc.ErrBadToken, "missing_token"},
		{400, `Bearer realm="r", error="invalid_request"`, oidc.ErrBadToken, "malformed_credentials multiple_credentials"},
		{401, `Bearer realm="r", error="invalid_token"`, oidc.ErrBadToken, "malformed_token token_too_large unsupported_algorithm unknown_issuer " +
			"issuer_not_accepted wrong_token_type not_yet_valid wrong_audience unknown_key bad_signature invalid_claim inactive revoked " +
			"proof_missing binding_mismatch"},
		{401, `DPoP realm="r", error="invalid_dpop_proof"`, oidc.ErrBadToken, "proof_invalid proof_replayed"},
		{401, `DPoP realm="r", error="use_dpop_nonce"`, oidc.ErrBadToken, "nonce_required"},
		{401, `Bearer realm="r", error="invalid_token", error_description="The access token expired"`, oidc.ErrBadToken, "expired"},
		{401, `Bearer realm="r", error="insufficient_user_authentication"`, oidc.ErrBadToken, "insufficient_authentication"},
		{403, `Bearer realm="r", error="insufficient_scope", scope="a b"`, oidc.ErrNotAllowed, "insufficient_scope"},
		{403, "", oidc.ErrNotAllowed, "no_policy denied_by_policy ambiguous_path claim_mismatch role_missing condition_false policy_error identity_too_large"},
		{503, "", oidc.ErrCannotKnow, "keys_unavailable introspection_unavailable overloaded deadline"},
		{500, "", oidc.ErrCannotKnow, "internal"},
	}
	c := oidc.Challenge{Realm: "r", Scopes: []string{"a", "b"}}
	var seen []oidc.Reason
	texts := map[oidc.Class]string{}
	for _, row := range rows {
		for name := range strings.FieldsSeq(row.reasons) {
			r := oidc.Reason(name)
			seen = append(seen, r)
			if r.Status() != row.status {
				t.Errorf("%s: status %d, want %d", r, r.Status(), row.status)
			}
			if got := strings.Join(c.Values(r), "; "); got != row.challenge {
				t.Errorf("%s: challenge %s, want %s", r, got, row.challenge)
			}
			if (r.Class() == oidc.ClassAllow) != (row.kind == nil) {
				t.Errorf("%s: class %d", r, r.Class())
			}
			if row.kind == nil {
				continue
			}
			err := fmt.Errorf("wrapped: %w", &oidc.Error{Reason: r})
			for _, kind := range []error{oidc.ErrBadToken, oidc.ErrNotAllowed, oidc.ErrCannotKnow} {
				if got := errors.Is(err, kind); got != (kind == row.kind) {
					t.Errorf("%s: errors.Is(err, %v) = %t", r, kind, got)
				}
			}
			if oidc.ReasonOf(err) != r {
				t.Errorf("ReasonOf = %s, want %s", oidc.ReasonOf(err), r)
			}
			if r.ErrorCode() == "" || r.Description() == "" || len(r.ErrorCode())+len(r.Description()) > 200 {
				t.Errorf("%s: body of %q and %q", r, r.ErrorCode(), r.Description())
			}
			if r == oidc.Expired {
				continue
			}
			if text, ok := texts[r.Class()]; ok && text != r.Description() {
				t.Errorf("%s tells more than its class: %q, %q", r, r.Description(), text)
			}
			texts[r.Class()] = r.Description()
		}
	}
	all := oidc.Reasons()
	slices.Sort(all)
	slices.Sort(seen)
	if !slices.Equal(all, seen) {
		t.Errorf("the table has %d reasons, the product %d:\n%v\n%v", len(seen), len(all), seen, all)
	}
}

func TestTheZeroReasonDenies(t *testing.T) {
	var r oidc.Reason
	if r.Class() != oidc.ClassInternal || r.Status() != 500 {
		t.Errorf("class %d, status %d", r.Class(), r.Status())
	}
	if oidc.ReasonOf(nil) != "" || oidc.ReasonOf(errors.New("x")) != oidc.Internal {
		t.Error("ReasonOf of something else than an Error")
	}
}

// RFC 9449 sections 7.1 and 7.2: the refusal is said under the scheme that the
// request used, and a 401 names the other one too.
func TestChallengesWhereDPoPIsOffered(t *testing.T) {
	both := oidc.Challenge{Realm: "r", ResourceMetadata: "https://m", Scopes: []string{"a"}, DPoP: []oidc.Algorithm{oidc.ES256, oidc.PS256},
		StepUp: oidc.StepUp{ACRValues: []string{"gold", "silver"}, MaxAge: 5 * time.Minute}}
	used, alone := both, both
	used.UsedDPoP = true
	alone.NoBearer = true
	const other = `DPoP realm="r", resource_metadata="https://m", algs="ES256 PS256"`
	for _, tt := range []struct {
		challenge oidc.Challenge
		reason    oidc.Reason
		want      []string
	}{
		{both, oidc.MissingToken, []string{`Bearer realm="r", resource_metadata="https://m"`, other}},
		{both, oidc.ProofMissing, []string{`Bearer realm="r", error="invalid_token", resource_metadata="https://m"`, other}},
		{both, oidc.BadSignature, []string{`Bearer realm="r", error="invalid_token", resource_metadata="https://m"`, other}},
		{both, oidc.MultipleCredentials, []string{`Bearer realm="r", error="invalid_request", resource_metadata="https://m"`}},
		{both, oidc.InsufficientScope, []string{`Bearer realm="r", error="insufficient_scope", scope="a", resource_metadata="https://m"`}},
		{both, oidc.InsufficientAuthentication, []string{`Bearer realm="r", error="insufficient_user_authentication", acr_values="gold silver", max_age="300", resource_metadata="https://m"`, other}},
		{both, oidc.KeysUnavailable, nil},
		{both, oidc.ProofInvalid, []string{`DPoP realm="r", error="invalid_dpop_proof", resource_metadata="https://m", algs="ES256 PS256"`}},
		{used, oidc.NonceRequired, []string{`DPoP realm="r", error="use_dpop_nonce", resource_metadata="https://m", algs="ES256 PS256"`}},
		{used, oidc.Expired, []string{`DPoP realm="r", error="invalid_token", error_description="The access token expired", resource_metadata="https://m", algs="ES256 PS256"`}},
		{used, oidc.BindingMismatch, []string{`DPoP realm="r", error="invalid_token", resource_metadata="https://m", algs="ES256 PS256"`}},
		{used, oidc.InsufficientScope, []string{`DPoP realm="r", error="insufficient_scope", scope="a", resource_metadata="https://m", algs="ES256 PS256"`}},
		{alone, oidc.MissingToken, []string{other}},
		{alone, oidc.MalformedCredentials, []string{`DPoP realm="r", error="invalid_request", resource_metadata="https://m", algs="ES256 PS256"`}},
		{oidc.Challenge{DPoP: []oidc.Algorithm{oidc.ES256}}, oidc.MissingToken, []string{"Bearer", `DPoP algs="ES256"`}},
	} {
		if got := tt.challenge.Values(tt.reason); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.reason, got, tt.want)
		}
	}
}

func TestChallengesQuoteWhatTheyCarry(t *testing.T) {
	got := oidc.Challenge{Realm: "a\"b\\c\r\nd", ResourceMetadata: "https://api.example/.well-known/oauth-protected-resource"}.Values(oidc.MissingToken)
	want := `Bearer realm="a\"b\\cd", resource_metadata="https://api.example/.well-known/oauth-protected-resource"`
	if len(got) != 1 || got[0] != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := (oidc.Challenge{Scopes: []string{"a", "b", "a"}}).Values(oidc.InsufficientScope); got[0] != `Bearer error="insufficient_scope", scope="a b"` {
		t.Errorf("a scope that is wanted twice: %q", got)
	}
	if got := (oidc.Challenge{}).Values(oidc.MissingToken); len(got) != 1 || got[0] != "Bearer" {
		t.Errorf("an empty challenge is %q", got)
	}
}
