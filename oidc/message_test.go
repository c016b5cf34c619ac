package oidc_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// app is the client of these tests.
func app(issuer *oidctest.Issuer) oidc.Recipient {
	return oidc.Recipient{Issuer: issuer.URL, ClientID: "app"}
}

// idClaims are those of a good ID token, with changes.
func idClaims(changes claims) claims {
	all := claims{"aud": "app", "client_id": oidctest.Omit, "jti": oidctest.Omit, "nonce": "n-0"}
	for name, value := range changes {
		all[name] = value
	}
	return all
}

func jwt() oidctest.TokenOption { return oidctest.Header("typ", "JWT") }

// idVerdict is a rule and an ID token that is as the rule says: refused with this
// error, or accepted. What is not said is as in a usual token of a login with a
// nonce.
type idVerdict struct {
	rule   string
	claims claims
	header []oidctest.TokenOption
	want   func(*oidc.IDTokenRequirement)
	refuse string // the error; "" is none
}

func holdIDs(t *testing.T, verdicts []idVerdict) {
	t.Helper()
	c := newClock()
	issuer := newIssuer(t, c, oidctest.WithAlgorithms("ES256", "RS256"))
	v := newValidator(t, issuer, c, nil)
	for _, tt := range verdicts {
		want := oidc.IDTokenRequirement{Recipient: app(issuer), Nonce: "n-0"}
		if tt.want != nil {
			tt.want(&want)
		}
		token := issuer.Token(idClaims(tt.claims), append([]oidctest.TokenOption{jwt()}, tt.header...)...)
		got := ""
		if _, err := v.ValidateIDToken(t.Context(), token, want); err != nil {
			got = strings.TrimPrefix(err.Error(), "oidc: ")
		}
		if got != tt.refuse {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.rule, got, tt.refuse)
		}
	}
}

func TestAnIDTokenIsReadIntoFields(t *testing.T) {
	c := newClock()
	issuer := newIssuer(t, c)
	v := newValidator(t, issuer, c, nil)
	now := c.Now()
	id, err := v.ValidateIDToken(t.Context(), issuer.Token(idClaims(claims{
		"aud": []string{"app", "api"}, "azp": "app", "acr": "gold", "amr": []string{"pwd", "otp"}, "sid": "s-1", "auth_time": now.Unix() - 7, "name": "Alice",
	}), jwt()), oidc.IDTokenRequirement{
		Recipient: oidc.Recipient{Issuer: issuer.URL, ClientID: "app", TrustedAudiences: []string{"api"}}, Nonce: "n-0",
	})
	if err != nil {
		t.Fatal(err)
	}
	want(t, "issuer", id.Issuer, issuer.URL)
	want(t, "issuer's name", id.IssuerName, "shop")
	want(t, "subject", id.Subject, "alice")
	want(t, "azp", id.AuthorizedParty, "app")
	want(t, "nonce", id.Nonce, "n-0")
	want(t, "acr", id.ACR, "gold")
	want(t, "amr", strings.Join(id.AMR, " "), "pwd otp")
	want(t, "aud", strings.Join(id.Audience, " "), "app api")
	want(t, "sid", id.SessionID, "s-1")
	want(t, "auth_time", id.AuthTime, time.Unix(now.Unix()-7, 0))
	want(t, "iat", id.IssuedAt, now)
	want(t, "exp", id.Expiry, now.Add(oidctest.Lifetime))
	name, _ := id.Claims.Top("name")
	want(t, "name", name.Text(), "Alice")
}

func TestAnIDTokenIsOfItsIssuerForItsClient(t *testing.T) {
	holdIDs(t, []idVerdict{
		{rule: "a usual one"},
		{rule: "no typ", header: []oidctest.TokenOption{oidctest.Header("typ", oidctest.Omit)}},
		{
			rule: "of another issuer", want: func(w *oidc.IDTokenRequirement) { w.Recipient.Issuer = "https://other.example" },
			refuse: "issuer_not_accepted (iss): of another issuer than the one that was asked",
		},
		{
			rule: "of an issuer that nobody knows", claims: claims{"iss": "https://other.example"},
			refuse: "unknown_issuer (iss): no configured issuer has exactly this identifier",
		},
		{rule: "no aud", claims: claims{"aud": nil}, refuse: "wrong_audience (aud): missing: the message says nowhere whom it is for"},
		{rule: "aud a number", claims: claims{"aud": 5}, refuse: "invalid_claim (aud): neither a string nor a list of strings"},
		{rule: "for another client", claims: claims{"aud": "other"}, refuse: "wrong_audience (aud): the client is not in it"},
		{
			rule: "for somebody else too", claims: claims{"aud": []string{"app", "other"}, "azp": "app"},
			refuse: "wrong_audience (aud): for somebody else too, who is not among the trusted audiences",
		},
		{
			rule: "for somebody else who is trusted, and no azp", claims: claims{"aud": []string{"app", "other"}},
			want:   func(w *oidc.IDTokenRequirement) { w.Recipient.TrustedAudiences = []string{"other"} },
			refuse: "invalid_claim (azp): missing, and the token has several audiences",
		},
		{rule: "issued to another client", claims: claims{"azp": "other"}, refuse: "invalid_claim (azp): the token was issued to another client"},
		{rule: "issued to the client", claims: claims{"azp": "app"}},
		{rule: "a forged one", header: []oidctest.TokenOption{oidctest.Forged()}, refuse: "bad_signature: the signature does not fit the issuer's key"},
		{rule: "an unsigned one", header: []oidctest.TokenOption{oidctest.Unsigned()}, refuse: "unsupported_algorithm (alg)"},
		{
			rule: "signed otherwise than registered", header: []oidctest.TokenOption{oidctest.Alg("RS256")},
			want:   func(w *oidc.IDTokenRequirement) { w.Recipient.Algorithms = []oidc.Algorithm{oidc.ES256} },
			refuse: "unsupported_algorithm (alg): not among the algorithms agreed for such a message",
		},
		{rule: "no sub", claims: claims{"sub": nil}, refuse: "invalid_claim (sub): missing"},
		{rule: "an empty sub", claims: claims{"sub": ""}, refuse: "invalid_claim (sub): not a string, or empty"},
		{rule: "no iat", claims: claims{"iat": nil}, refuse: "invalid_claim (iat): missing"},
		{rule: "no exp", claims: claims{"exp": nil}, refuse: "invalid_claim (exp): missing or zero"},
		{rule: "expired", claims: claims{"exp": 1_799_999_970}, refuse: "expired (exp): expired at 2027-01-15T07:59:30Z"},
		{rule: "from the future", claims: claims{"iat": 1_800_000_031}, refuse: "not_yet_valid (iat)"},
		{rule: "amr a string", claims: claims{"amr": "pwd"}},
		{rule: "amr a number", claims: claims{"amr": 5}, refuse: "invalid_claim (amr): neither a string nor a list of strings"},
		{rule: "signed as registered", header: []oidctest.TokenOption{oidctest.Alg("RS256")}, want: func(w *oidc.IDTokenRequirement) {
			w.Recipient.Algorithms = []oidc.Algorithm{oidc.ES256, oidc.RS256}
		}},
		{
			rule: "a header that nobody else can read", header: []oidctest.TokenOption{oidctest.RawHeader([]byte(`{"alg":"ES256","kid":"key-1","typ":"JWT","nonce":5}`))},
			refuse: "malformed_token: a header parameter is a number out of range, or a nonce that is no string",
		},
		{
			rule: "a recipient without an issuer", want: func(w *oidc.IDTokenRequirement) { w.Recipient.Issuer = "" },
			refuse: "internal: the caller does not say whose message it must be, or for whom: Recipient lacks Issuer or ClientID",
		},
		{
			rule: "a recipient without a client", want: func(w *oidc.IDTokenRequirement) { w.Recipient.ClientID = "" },
			refuse: "internal: the caller does not say whose message it must be, or for whom: Recipient lacks Issuer or ClientID",
		},
	})
}

func TestWhatIsNoIDTokenIsRefused(t *testing.T) {
	const otherKind = "the mark of a message of another kind"
	const inClaims = "the mark of a token of another kind, in the claims"
	typ := func(typ string) []oidctest.TokenOption { return []oidctest.TokenOption{oidctest.Header("typ", typ)} }
	holdIDs(t, []idVerdict{
		{rule: "an access token", header: typ("at+jwt"), refuse: "wrong_token_type (typ): not the type of such a message"},
		{rule: "a logout token by typ", header: typ("logout+jwt"), refuse: "wrong_token_type (typ): not the type of such a message"},
		{rule: "our word for no typ", header: typ("none"), refuse: "wrong_token_type (typ): not the type of such a message"},
		{rule: "a logout token by its claim", claims: claims{"events": claims{}}, refuse: "wrong_token_type (events): " + otherKind},
		{rule: "a proof of possession", claims: claims{"htm": "GET"}, refuse: "wrong_token_type (htm): " + otherKind},
		{rule: "an introspection", claims: claims{"token_introspection": claims{}}, refuse: "wrong_token_type (token_introspection): " + otherKind},
		{rule: "an access token of Keycloak", claims: claims{"typ": "Bearer"}, refuse: "wrong_token_type (typ): " + inClaims},
		{rule: "a bound access token of Keycloak", claims: claims{"typ": "DPoP"}, refuse: "wrong_token_type (typ): " + inClaims},
		{rule: "an offline token of Keycloak", claims: claims{"typ": "Offline"}, refuse: "wrong_token_type (typ): " + inClaims},
		{rule: "a logout token of Keycloak", claims: claims{"typ": "Logout"}, refuse: "wrong_token_type (typ): " + inClaims},
		{rule: "a refresh token of Cognito", claims: claims{"token_use": "refresh"}, refuse: "wrong_token_type (token_use): " + inClaims},
		{rule: "a refresh token of Keycloak", claims: claims{"typ": "Refresh"}, refuse: "wrong_token_type (typ): " + inClaims},
		{rule: "an ID token of Keycloak", claims: claims{"typ": "ID"}},
		{rule: "a typ that says nothing", claims: claims{"typ": "JWT"}},
		{rule: "an access token of Cognito", claims: claims{"token_use": "access"}, refuse: "wrong_token_type (token_use): " + inClaims},
		{rule: "an ID token of Cognito", claims: claims{"token_use": "id"}},
	})
}

func TestTheNonceIsTheOneThatWasSent(t *testing.T) {
	none := func(w *oidc.IDTokenRequirement) { w.Nonce = "" }
	holdIDs(t, []idVerdict{
		{rule: "another", claims: claims{"nonce": "n-1"}, refuse: "invalid_claim (nonce): not the one that was sent"},
		{rule: "none", claims: claims{"nonce": nil}, refuse: "invalid_claim (nonce): missing, and one was sent"},
		{rule: "one although none was sent", want: none, refuse: "invalid_claim (nonce): there, and none was sent"},
		{rule: "none, and none was sent", claims: claims{"nonce": nil}, want: none},
		{rule: "a list", claims: claims{"nonce": []string{"n-0"}}, refuse: "invalid_claim (nonce): not a string, or empty"},
	})
}

// The values are those of OpenID Connect Core 1.0, sections A.3 and A.4.
func TestHashesAreOfWhatCameWithTheToken(t *testing.T) {
	const (
		accessToken, atHash = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y", "77QmUPtjPfzWtF2AnpK9RQ"
		code, cHash         = "Qcb0Orv1zh30vL1MPRsbm-diHiMwcLyZvn1arpZv-Jxf_11jnpEX3Tgfvk", "LDktKdoQak3Pk0cnXxCltA"
	)
	with := func(w *oidc.IDTokenRequirement) {
		w.AccessToken, w.Code, w.State = accessToken, code, accessToken
	}
	const other = ": the hash of another value than the one that came with the token"
	holdIDs(t, []idVerdict{
		{rule: "all fit", claims: claims{"at_hash": atHash, "c_hash": cHash, "s_hash": atHash}, want: with},
		{rule: "none is there", want: with},
		{rule: "another access token", claims: claims{"at_hash": cHash}, want: with, refuse: "invalid_claim (at_hash)" + other},
		{rule: "another code", claims: claims{"c_hash": atHash}, want: with, refuse: "invalid_claim (c_hash)" + other},
		{rule: "another state", claims: claims{"s_hash": cHash}, want: with, refuse: "invalid_claim (s_hash)" + other},
		{rule: "an empty hash", claims: claims{"at_hash": ""}, want: with, refuse: "invalid_claim (at_hash): not a string, or empty"},
		{rule: "nothing to compare with", claims: claims{"at_hash": cHash}},
	})
}

func TestHowLongAgoAndHowTheUserAuthenticated(t *testing.T) {
	maxAge := func(d time.Duration) func(*oidc.IDTokenRequirement) {
		return func(w *oidc.IDTokenRequirement) { w.MaxAge = d }
	}
	acr := func(w *oidc.IDTokenRequirement) { w.ACRValues = []string{"gold", "silver"} }
	const now = 1_800_000_000
	const ago = "insufficient_authentication (auth_time): the user authenticated longer ago than max_age"
	holdIDs(t, []idVerdict{
		{rule: "within max_age and leeway", claims: claims{"auth_time": now - 90}, want: maxAge(time.Minute)},
		{rule: "before", claims: claims{"auth_time": now - 91}, want: maxAge(time.Minute), refuse: ago},
		{rule: "just now", claims: claims{"auth_time": now - 30}, want: maxAge(-1)},
		{rule: "not just now", claims: claims{"auth_time": now - 31}, want: maxAge(-1), refuse: ago},
		{rule: "nobody knows when", want: maxAge(time.Minute), refuse: "invalid_claim (auth_time): missing, and max_age was sent"},
		{rule: "in the future", claims: claims{"auth_time": now + 31}, refuse: "not_yet_valid (auth_time)"},
		{rule: "a time that is none", claims: claims{"auth_time": "now"}, refuse: "invalid_claim (auth_time): not a number from 0 to the year 9999"},
		{rule: "long ago, and nobody asked", claims: claims{"auth_time": 1}},
		{rule: "a class that is acceptable", claims: claims{"acr": "silver"}, want: acr},
		{rule: "another class", claims: claims{"acr": "bronze"}, want: acr, refuse: "insufficient_authentication (acr): none of the acceptable values"},
		{rule: "no class", want: acr, refuse: "insufficient_authentication (acr): none of the acceptable values"},
	})
}

// Each algorithm has its hash, and Ed25519 that of its signature.
func TestHashesAreThoseOfTheSignature(t *testing.T) {
	sums := map[string]func(string) []byte{}
	for _, alg := range []string{"RS256", "PS256", "ES256"} {
		sums[alg] = func(s string) []byte { h := sha256.Sum256([]byte(s)); return h[:16] }
	}
	for _, alg := range []string{"RS384", "PS384", "ES384"} {
		sums[alg] = func(s string) []byte { h := sha512.Sum384([]byte(s)); return h[:24] }
	}
	for _, alg := range []string{"RS512", "PS512", "ES512", "EdDSA", "Ed25519"} {
		sums[alg] = func(s string) []byte { h := sha512.Sum512([]byte(s)); return h[:32] }
	}
	c := newClock()
	for alg, sum := range sums {
		issuer := newIssuer(t, c, oidctest.WithAlgorithms(alg))
		v := newValidator(t, issuer, c, nil)
		for of, refused := range map[string]bool{"token": false, "other": true} {
			token := issuer.Token(idClaims(claims{"at_hash": base64.RawURLEncoding.EncodeToString(sum(of))}), jwt())
			_, err := v.ValidateIDToken(t.Context(), token, oidc.IDTokenRequirement{Recipient: app(issuer), Nonce: "n-0", AccessToken: "token"})
			if (err != nil) != refused {
				t.Errorf("%s, the hash of %q: %v", alg, of, err)
			}
		}
	}
}

// A message is of the tenant that was asked, or of any if the template was.
func TestMessagesOfTenants(t *testing.T) {
	c := newClock()
	issuer := newIssuer(t, c, oidctest.WithPath("/realms/shop"))
	template := strings.TrimSuffix(issuer.URL, "shop") + "{tenant}"
	v := newValidator(t, issuer, c, func(cfg *oidc.Config) {
		cfg.Issuers[0].Issuer, cfg.Issuers[0].Tenants.Pattern = template, "[a-z]+"
	})
	for of, reason := range map[string]oidc.Reason{issuer.URL: "", template: "", strings.TrimSuffix(issuer.URL, "shop") + "bank": oidc.IssuerNotAccepted} {
		id, err := v.ValidateIDToken(t.Context(), issuer.Token(idClaims(nil), jwt()), oidc.IDTokenRequirement{
			Recipient: oidc.Recipient{Issuer: of, ClientID: "app"}, Nonce: "n-0",
		})
		if oidc.ReasonOf(err) != reason || err == nil && id.Issuer != issuer.URL {
			t.Errorf("asked for one of %s: %+v, %v", of, id, err)
		}
	}
	_, err := v.ValidateIDToken(t.Context(), issuer.Token(idClaims(claims{"aud": "other"}), jwt()), oidc.IDTokenRequirement{
		Recipient: oidc.Recipient{Issuer: template, ClientID: "app"}, Nonce: "n-0",
	})
	want(t, "for another client", oidc.ReasonOf(err), oidc.WrongAudience)
}

// The keys of Entra's tenants are the same: iss and tid both have to say which.
func TestMessagesOfEntraNameTheirTenantTwice(t *testing.T) {
	const tenant, other = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
	c := newClock()
	issuer := newIssuer(t, c)
	v := newValidator(t, issuer, c, func(cfg *oidc.Config) {
		cfg.Issuers[0] = oidc.IssuerConfig{
			Issuer: "https://login.microsoftonline.com/organizations/v2.0", Name: "shop", Preset: oidc.PresetEntra, JWKSURL: issuer.URLOf(oidctest.JWKS),
			Audiences: []string{"app"}, Tenants: oidc.TenantsConfig{Allow: []string{tenant, other}},
		}
	})
	iss := "https://login.microsoftonline.com/" + tenant + "/v2.0"
	for tid, reason := range map[string]oidc.Reason{tenant: "", other: oidc.InvalidClaim} {
		_, err := v.ValidateIDToken(t.Context(), issuer.Token(idClaims(claims{"iss": iss, "tid": tid}), jwt()), oidc.IDTokenRequirement{
			Recipient: oidc.Recipient{Issuer: iss, ClientID: "app"}, Nonce: "n-0",
		})
		if oidc.ReasonOf(err) != reason {
			t.Errorf("tid %s: %v", tid, err)
		}
	}
}

// A JWT-SVID needs no iss, but is no message.
func TestAMessageNamesItsIssuer(t *testing.T) {
	c := newClock()
	issuer := newIssuer(t, c)
	v := newValidator(t, issuer, c, func(cfg *oidc.Config) {
		cfg.Issuers[0] = oidc.IssuerConfig{Issuer: "spiffe://example.org", Name: "shop", Preset: oidc.PresetSPIFFE, JWKSURL: issuer.URLOf(oidctest.JWKS), AnyAudience: true}
	})
	_, err := v.ValidateIDToken(t.Context(), issuer.Token(idClaims(claims{"iss": oidctest.Omit, "sub": "spiffe://example.org/web"}), jwt()), oidc.IDTokenRequirement{
		Recipient: oidc.Recipient{Issuer: "spiffe://example.org", ClientID: "app"}, Nonce: "n-0",
	})
	want(t, "reason", oidc.ReasonOf(err), oidc.UnknownIssuer)
}

func TestTheIssuersAlgorithmsHoldForMessagesToo(t *testing.T) {
	c := newClock()
	issuer := newIssuer(t, c)
	v := newValidator(t, issuer, c, func(cfg *oidc.Config) { cfg.Issuers[0].Algorithms = []oidc.Algorithm{oidc.RS256} })
	to := app(issuer)
	to.Algorithms = []oidc.Algorithm{oidc.ES256}
	_, err := v.ValidateIDToken(t.Context(), issuer.Token(idClaims(nil), jwt()), oidc.IDTokenRequirement{Recipient: to, Nonce: "n-0"})
	var refusal *oidc.Error
	if !errors.As(err, &refusal) || refusal.Reason != oidc.UnsupportedAlgorithm || refusal.IssuerName != "shop" {
		t.Errorf("%#v", err)
	}
}

func TestAfterARefreshItIsStillTheSameLogin(t *testing.T) {
	previous := func(id oidc.IDToken) func(*oidc.IDTokenRequirement) {
		return func(w *oidc.IDTokenRequirement) { w.Nonce, w.Previous = "", &id }
	}
	const now = 1_800_000_000
	login := previous(oidc.IDToken{Subject: "alice", Nonce: "n-0", AuthorizedParty: "app", AuthTime: time.Unix(now-100, 0)})
	holdIDs(t, []idVerdict{
		{rule: "the same", claims: claims{"azp": "app", "auth_time": now - 100}, want: login},
		{rule: "less is said", claims: claims{"nonce": nil}, want: login},
		{rule: "more is said", claims: claims{"azp": "app", "auth_time": now - 100}, want: previous(oidc.IDToken{Subject: "alice"})},
		{rule: "all that is known is who", want: previous(oidc.IDToken{Subject: "alice"})},
		{rule: "another user", claims: claims{"sub": "bob"}, want: login, refuse: "invalid_claim (sub): another than at the login"},
		{rule: "the same issuer", want: func(w *oidc.IDTokenRequirement) {
			w.Previous = &oidc.IDToken{Subject: "alice", Issuer: w.Recipient.Issuer}
		}},
		{rule: "another issuer", want: previous(oidc.IDToken{Issuer: "https://other.example"}), refuse: "invalid_claim (iss): another than at the login"},
		{rule: "another nonce", claims: claims{"nonce": "n-1"}, want: login, refuse: "invalid_claim (nonce): another than at the login"},
		{rule: "another time", claims: claims{"auth_time": now - 99}, want: login, refuse: "invalid_claim (auth_time): another than at the login"},
		{
			rule: "another party", claims: claims{"azp": "app"}, want: previous(oidc.IDToken{AuthorizedParty: "other"}),
			refuse: "invalid_claim (azp): another than at the login",
		},
	})
}

func TestALogoutTokenSaysWhoHasLoggedOut(t *testing.T) {
	c := newClock()
	issuer := newIssuer(t, c)
	v := newValidator(t, issuer, c, nil)
	event := claims{"http://schemas.openid.net/event/backchannel-logout": claims{}}
	logout := oidctest.Header("typ", "logout+jwt")
	for _, tt := range []struct {
		rule   string
		claims claims
		header []oidctest.TokenOption
		refuse string
	}{
		{rule: "a user's sessions"},
		{rule: "a session", claims: claims{"sub": nil, "sid": "s-1"}},
		{rule: "typ JWT", header: []oidctest.TokenOption{jwt()}},
		{rule: "an access token", header: []oidctest.TokenOption{oidctest.Header("typ", "at+jwt")}, refuse: "wrong_token_type (typ): not the type of such a message"},
		{rule: "an ID token", claims: claims{"nonce": "n"}, refuse: "wrong_token_type (nonce): the mark of a message of another kind"},
		{rule: "no event", claims: claims{"events": nil}, refuse: "invalid_claim (events): missing"},
		{rule: "another event", claims: claims{"events": claims{"other": claims{}}}, refuse: "wrong_token_type (events): not the event of a logout"},
		{
			rule: "an event that is no object", claims: claims{"events": claims{"http://schemas.openid.net/event/backchannel-logout": true}},
			refuse: "wrong_token_type (events): not the event of a logout",
		},
		{rule: "nobody", claims: claims{"sub": nil}, refuse: "invalid_claim (sub): missing, and so is sid: the token says nowhere who has logged out"},
		{rule: "no jti", claims: claims{"jti": nil}, refuse: "invalid_claim (jti): missing"},
		{rule: "no iat", claims: claims{"iat": nil}, refuse: "invalid_claim (iat): missing"},
		{rule: "no exp", claims: claims{"exp": nil}, refuse: "invalid_claim (exp): missing or zero"},
		{rule: "for another client", claims: claims{"aud": "other"}, refuse: "wrong_audience (aud): the client is not in it"},
		{rule: "forged", header: []oidctest.TokenOption{oidctest.Forged()}, refuse: "bad_signature: the signature does not fit the issuer's key"},
	} {
		all := claims{"aud": "app", "client_id": oidctest.Omit, "events": event, "jti": "id-1"}
		for name, value := range tt.claims {
			all[name] = value
		}
		got := ""
		token, err := v.ValidateLogoutToken(t.Context(), issuer.Token(all, append([]oidctest.TokenOption{logout}, tt.header...)...), app(issuer))
		if err != nil {
			got = strings.TrimPrefix(err.Error(), "oidc: ")
		} else {
			want(t, tt.rule+": jti", token.ID, "id-1")
			want(t, tt.rule+": expiry", token.Expiry, c.Now().Add(oidctest.Lifetime))
			want(t, tt.rule+": who", token.Subject+token.SessionID != "", true)
		}
		if got != tt.refuse {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.rule, got, tt.refuse)
		}
	}
}

func TestSignedAnswersAreOfTheirKind(t *testing.T) {
	c := newClock()
	issuer := newIssuer(t, c)
	v := newValidator(t, issuer, c, nil)
	plain := claims{"aud": "app", "client_id": oidctest.Omit, "jti": oidctest.Omit}
	response := claims{"sub": oidctest.Omit, "iat": oidctest.Omit, "code": "c-1", "state": "s-1"}
	lasting := claims{"exp": oidctest.Omit}
	about := claims{"exp": oidctest.Omit, "sub": oidctest.Omit, "token_introspection": claims{"active": true, "sub": "bob"}}
	introspection := oidctest.Header("typ", "token-introspection+jwt")
	type validate func(*oidc.Validator, context.Context, string, oidc.Recipient) (oidc.Claims, error)
	for _, tt := range []struct {
		rule     string
		validate validate
		claims   []claims
		header   oidctest.TokenOption
		want     string // a claim and its value, or the error
	}{
		{"an authorization response", (*oidc.Validator).ValidateAuthorizationResponse, []claims{response}, jwt(), "code c-1"},
		{"with a code that is no string", (*oidc.Validator).ValidateAuthorizationResponse, []claims{response, {"code": 5}}, jwt(), "invalid_claim (code): not a string, or empty"},
		{"an ID token in its place", (*oidc.Validator).ValidateAuthorizationResponse, []claims{response, {"sub": "alice"}}, jwt(), "wrong_token_type (sub): the mark of a message of another kind"},
		{"an authorization response for ever", (*oidc.Validator).ValidateAuthorizationResponse, []claims{response, lasting}, jwt(), "invalid_claim (exp): missing or zero"},
		{"an authorization response for another client", (*oidc.Validator).ValidateAuthorizationResponse, []claims{response, {"aud": "other"}}, jwt(), "wrong_audience (aud): the client is not in it"},
		{"user info", (*oidc.Validator).ValidateUserInfo, []claims{lasting}, jwt(), "sub alice"},
		{"user info that has expired", (*oidc.Validator).ValidateUserInfo, []claims{{"exp": 5}}, jwt(), "expired (exp): expired at 1970-01-01T00:00:05Z"},
		{"user info of nobody", (*oidc.Validator).ValidateUserInfo, []claims{{"sub": nil}}, jwt(), "invalid_claim (sub): missing"},
		{"an ID token as user info", (*oidc.Validator).ValidateUserInfo, []claims{{"nonce": "n"}}, jwt(), "wrong_token_type (nonce): the mark of a message of another kind"},
		{"an introspection", (*oidc.Validator).ValidateIntrospection, []claims{about}, introspection, "sub bob"},
		{"an introspection of no type", (*oidc.Validator).ValidateIntrospection, []claims{about}, jwt(), "wrong_token_type (typ): not the type of such a message"},
		{"an introspection without iat", (*oidc.Validator).ValidateIntrospection, []claims{about, {"iat": nil}}, introspection, "invalid_claim (iat): missing"},
		{"an introspection of nothing", (*oidc.Validator).ValidateIntrospection, []claims{about, {"token_introspection": nil}}, introspection, "invalid_claim (token_introspection): missing"},
		{"an introspection that is no object", (*oidc.Validator).ValidateIntrospection, []claims{about, {"token_introspection": "yes"}}, introspection, "invalid_claim (token_introspection): not an object"},
	} {
		all := claims{}
		for _, changes := range append([]claims{plain}, tt.claims...) {
			for name, value := range changes {
				all[name] = value
			}
		}
		got := ""
		if found, err := tt.validate(v, t.Context(), issuer.Token(all, tt.header), app(issuer)); err != nil {
			got = strings.TrimPrefix(err.Error(), "oidc: ")
		} else if name, _, ok := strings.Cut(tt.want, " "); ok {
			value, _ := found.Top(name)
			got = name + " " + value.Text()
		}
		if got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.rule, got, tt.want)
		}
	}
}

// Messages are verified with the keys that are there for access tokens: no more
// is fetched for them, and an outage leaves them be.
func TestMessagesUseTheIssuersKeys(t *testing.T) {
	c := newClock()
	issuer := newIssuer(t, c)
	v := newValidator(t, issuer, c, nil)
	want(t, "access token", reasonOf(t, v, issuer.Token(nil)), "")
	before := issuer.Requests()
	issuer.Down()
	for range 3 {
		_, err := v.ValidateIDToken(t.Context(), issuer.Token(idClaims(nil), jwt()), oidc.IDTokenRequirement{Recipient: app(issuer), Nonce: "n-0"})
		want(t, "reason", oidc.ReasonOf(err), "")
	}
	for range 3 { // one of an unknown key asks once, as an access token does
		_, err := v.ValidateIDToken(t.Context(), issuer.Token(idClaims(nil), jwt(), oidctest.KeyID("new")), oidc.IDTokenRequirement{Recipient: app(issuer), Nonce: "n-0"})
		if !errors.Is(err, oidc.ErrCannotKnow) {
			t.Errorf("of an unknown key, the issuer down: %v", err)
		}
	}
	want(t, "requests", issuer.Requests(), before)
}

// What is wrong with a message is found before its key is looked for.
func TestABadMessageCausesNoFetch(t *testing.T) {
	c := newClock()
	issuer := newIssuer(t, c)
	v := newValidator(t, issuer, c, nil)
	for name, change := range map[string]claims{
		"nonce": {"nonce": "other"}, "aud": {"aud": "other"}, "exp": {"exp": 5}, "azp": {"azp": "other"}, "sub": {"sub": nil},
	} {
		_, err := v.ValidateIDToken(t.Context(), issuer.Token(idClaims(change), jwt()), oidc.IDTokenRequirement{Recipient: app(issuer), Nonce: "n-0"})
		if !errors.Is(err, oidc.ErrBadToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	want(t, "requests", issuer.Requests(), 0)
}

// A validator of many issuers is asked for messages of one.
func TestAnotherIssuersMessageIsRefusedAlthoughItsTokensAreAccepted(t *testing.T) {
	c := newClock()
	shop, bank := newIssuer(t, c), newIssuer(t, c)
	v := newValidator(t, shop, c, func(cfg *oidc.Config) {
		cfg.Issuers = append(cfg.Issuers, oidc.IssuerConfig{Issuer: bank.URL, Name: "bank", Audiences: []string{"api"}})
	})
	_, err := v.ValidateIDToken(t.Context(), bank.Token(idClaims(nil), jwt()), oidc.IDTokenRequirement{Recipient: app(shop), Nonce: "n-0"})
	want(t, "reason", oidc.ReasonOf(err), oidc.IssuerNotAccepted)
}

func TestErrorsOfMessagesRepeatNothingOfThem(t *testing.T) {
	c := newClock()
	issuer := newIssuer(t, c)
	v := newValidator(t, issuer, c, nil)
	const secret = "swordfish"
	for _, name := range []string{"iss", "aud", "azp", "nonce", "acr", "at_hash", "sub", "typ", "token_use", "amr"} {
		_, err := v.ValidateIDToken(t.Context(), issuer.Token(idClaims(claims{name: secret}), jwt()), oidc.IDTokenRequirement{
			Recipient: app(issuer), Nonce: "n-0", AccessToken: "x", ACRValues: []string{"gold"}, Previous: &oidc.IDToken{Subject: "alice"},
		})
		if name != "nonce" && err == nil || err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzIDTokenClaims(f *testing.F) {
	c := newClock()
	issuer := newIssuer(f, c)
	v := newValidator(f, issuer, c, nil)
	f.Add([]byte(`{"iss":"ISSUER","sub":"alice","aud":"app","nonce":"n-0","iat":1800000000,"exp":1800000060}`))
	f.Add([]byte(`{"iss":"ISSUER","aud":["app","app"],"azp":"app","sub":"\u0000","nonce":"n-0","iat":1,"exp":1e308,"auth_time":1,"acr":"","amr":[]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		body = bytes.ReplaceAll(body, []byte("ISSUER"), []byte(issuer.URL)) // which another process does not have
		id, err := v.ValidateIDToken(t.Context(), issuer.Token(nil, jwt(), oidctest.RawClaims(body)), oidc.IDTokenRequirement{Recipient: app(issuer), Nonce: "n-0"})
		if err != nil {
			return
		}
		if id.Issuer != issuer.URL || id.Subject == "" || id.Nonce != "n-0" || !slices.Contains(id.Audience, "app") || !id.Expiry.Add(30*time.Second).After(c.Now()) {
			t.Errorf("accepted: %+v", id)
		}
	})
}
