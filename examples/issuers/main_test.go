package main

import (
	"net/http/httptest"
	"testing"

	"go.uber.org/goleak"

	"github.com/claimgate/claimgate/oidc/oidctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestIssuers(t *testing.T) {
	staff := oidctest.NewIssuer(oidctest.WithPath("/realms/staff"), oidctest.WithAudience("backoffice"))
	defer staff.Close()
	partners := oidctest.NewIssuer(oidctest.WithAudience("partner-api"))
	defer partners.Close()
	validator, err := newValidator(staff.URL, partners.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer validator.Close()
	handler, err := newHandler(validator)
	if err != nil {
		t.Fatal(err)
	}
	ofKeycloak := map[string]any{"typ": "Bearer"}
	for _, tt := range []struct {
		rule, method, token string
		status              int
		body                string
	}{
		{"staff reads", "GET", staff.Token(ofKeycloak), 200, "alice of staff\n"},
		{"a partner reads", "GET", partners.Token(nil), 200, "alice of partners\n"},
		{"staff deletes", "DELETE", staff.Token(ofKeycloak), 200, "alice of staff\n"},
		{"a partner deletes", "DELETE", partners.Token(nil), 401, `{"error":"invalid_token","error_description":"The access token is not valid"}`},
		{"one issuer's key for another's token", "GET", staff.Token(ofKeycloak, oidctest.SignWith(partners.SigningKey())), 401, `{"error":"invalid_token","error_description":"The access token is not valid"}`},
		{"one issuer's audience for another's token", "GET", partners.Token(map[string]any{"aud": "backoffice"}), 401, `{"error":"invalid_token","error_description":"The access token is not valid"}`},
	} {
		r := httptest.NewRequest(tt.method, "/stock", nil)
		r.Header.Set("Authorization", "Bearer "+tt.token)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != tt.status || w.Body.String() != tt.body {
			t.Errorf("%s: %d %s", tt.rule, w.Code, w.Body)
		}
	}
}

func TestTheProgramSaysWhatIsWrong(t *testing.T) {
	if err := run("not a URL", "https://login.example.net", "127.0.0.1:0"); err == nil {
		t.Error("an issuer that is none is accepted")
	}
}
