package client_test

import (
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/claimgate/claimgate/oidc/client"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// The requests and answers of the examples in the standards.
func TestExamplesOfTheRFCs(t *testing.T) {
	provider := start(t)
	var header http.Header
	var sent url.Values
	reply := func(body string, at oidctest.Endpoint) {
		provider.Respond(func(w http.ResponseWriter, r *http.Request) {
			_ = r.ParseForm()
			header, sent = r.Header, r.PostForm
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(body))
		}, at)
	}
	want := func(section, form string) {
		t.Helper()
		values, err := url.ParseQuery(form)
		if err != nil {
			t.Fatal(err)
		}
		if sent.Encode() != values.Encode() {
			t.Errorf("%s: sent %s\nwant %s", section, sent.Encode(), values.Encode())
		}
	}
	as := func(id string, auth client.ClientAuth) *client.Client {
		return open(t, provider, func(cfg *client.Config) { cfg.ClientID, cfg.Auth = id, auth })
	}
	basic := func(id, secret string) *client.Client {
		return as(id, client.ClientSecretBasic{Secret: client.NewSecret(secret)})
	}

	t.Run("RFC 6749 section 4.4", func(t *testing.T) {
		reply(`{"access_token":"2YotnFZFEjr1zCsicMWpAA","token_type":"example","expires_in":3600,"example_parameter":"example_value"}`, oidctest.Token)
		if _, err := basic("s6BhdRkqt3", "gX1fBat3bV").ClientCredentials(t.Context(), client.TokenParams{}); err == nil {
			t.Error("a token of the type example is accepted")
		}
		want("4.4.2", "grant_type=client_credentials")
		if got := header.Get("Authorization"); got != "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW" {
			t.Errorf("Authorization %s", got)
		}
	})
	t.Run("RFC 6749 section 6", func(t *testing.T) {
		reply(`{"access_token":"2YotnFZFEjr1zCsicMWpAA","token_type":"Bearer"}`, oidctest.Token)
		if _, err := basic("s6BhdRkqt3", "gX1fBat3bV").Refresh(t.Context(), client.NewSecret("tGzv3JOkF0XG5Qx2TlKWIA"), client.RefreshParams{}); err != nil {
			t.Error(err)
		}
		want("6", "grant_type=refresh_token&refresh_token=tGzv3JOkF0XG5Qx2TlKWIA")
	})
	t.Run("RFC 7523 section 2.1", func(t *testing.T) {
		reply(`{"access_token":"2YotnFZFEjr1zCsicMWpAA","token_type":"Bearer"}`, oidctest.Token)
		if _, err := as("s6BhdRkqt3", client.None{}).JWTBearer(t.Context(), client.NewSecret("eyJhbGciOiJFUzI1NiIsImtpZCI6IjE2In0.eyJpc3Mi.J9l-ZhwP"), client.TokenParams{}); err != nil {
			t.Error(err)
		}
		want("2.1", "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=eyJhbGciOiJFUzI1NiIsImtpZCI6IjE2In0.eyJpc3Mi.J9l-ZhwP&client_id=s6BhdRkqt3")
	})
	t.Run("RFC 8693 section 2.3", func(t *testing.T) {
		reply(`{"access_token":"eyJhbGciOiJFUzI1NiIsImtpZCI6IjllciJ9","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"Bearer","expires_in":60}`, oidctest.Token)
		answer, err := basic("rs08", "long-secure-random-secret").TokenExchange(t.Context(),
			client.TypedToken{Token: client.NewSecret("accVkjcJyb4BWCxGsndESCJQbdFMogUC5PbRDqceLTC"), Type: client.TypeAccessToken},
			client.ExchangeParams{TokenParams: client.TokenParams{Resources: []string{"https://backend.example.com/api"}}})
		if err != nil || answer.IssuedTokenType != client.TypeAccessToken || answer.TokenType != "Bearer" {
			t.Errorf("%+v %v", answer, err)
		}
		want("2.3", "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&resource=https%3A%2F%2Fbackend.example.com%2Fapi"+
			"&subject_token=accVkjcJyb4BWCxGsndESCJQbdFMogUC5PbRDqceLTC&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token")
		if got := header.Get("Authorization"); got != "Basic cnMwODpsb25nLXNlY3VyZS1yYW5kb20tc2VjcmV0" {
			t.Errorf("Authorization %s", got)
		}
	})
	t.Run("RFC 8628 section 3", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := open(t, provider, func(cfg *client.Config) {
				cfg.ClientID, cfg.Auth = "1406020730", client.None{}
				cfg.HTTPClient = &http.Client{Transport: provider.Transport()}
			})
			reply(`{"device_code":"GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS","user_code":"WDJB-MJHT","verification_uri":"https://example.com/device",
				"verification_uri_complete":"https://example.com/device?user_code=WDJB-MJHT","expires_in":1800,"interval":5}`, oidctest.DeviceAuthorization)
			d, err := c.AuthorizeDevice(t.Context(), client.TokenParams{Scopes: []string{"example_scope"}})
			if err != nil || d.UserCode != "WDJB-MJHT" || d.VerificationURIComplete != "https://example.com/device?user_code=WDJB-MJHT" || d.Interval != 5*time.Second {
				t.Fatalf("%+v %v", d, err)
			}
			want("3.1", "client_id=1406020730&scope=example_scope")
			reply(`{"access_token":"2YotnFZFEjr1zCsicMWpAA","token_type":"Bearer"}`, oidctest.Token)
			if _, err := c.DeviceToken(t.Context(), d); err != nil {
				t.Error(err)
			}
			want("3.4", "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS&client_id=1406020730")
		})
	})
}
