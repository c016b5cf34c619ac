package oidc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Each preset has a provider in testdata/presets: its metadata, key set and a
// token, in the shape that the provider's documentation gives them. The signing
// key is that of RFC 7515 A.2 or A.3, under the provider's kind of kid.

// world is the servers of all these providers: one, behind a proxy that takes
// every name for it.
type world struct {
	http      HTTPConfig
	providers map[Preset]*provider
}

type provider struct {
	issuer   string
	metadata map[string]any
	keys     []byte
	header   map[string]any
	claims   map[string]any
}

func readJSON(t testing.TB, file string, into any) []byte {
	t.Helper()
	data, err := os.ReadFile(file) //nolint:gosec // our own test data
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return data
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{providers: map[Preset]*provider{}}
	pages := map[string][]byte{}
	for _, preset := range Presets() {
		dir := filepath.Join("testdata/presets", string(preset))
		var token struct{ Header, Claims map[string]any }
		readJSON(t, filepath.Join(dir, "token.json"), &token)
		p := &provider{header: token.Header, claims: token.Claims}
		p.issuer, _ = token.Claims["iss"].(string)
		var keys map[string]any
		p.keys = readJSON(t, filepath.Join(dir, "jwks.json"), &keys)
		if preset == PresetSPIFFE {
			p.issuer = "spiffe://example.org"
			pages["spire.example.org/bundle"] = p.keys
		} else {
			document := readJSON(t, filepath.Join(dir, "metadata.json"), &p.metadata)
			pages[strings.TrimPrefix(strings.TrimSuffix(p.issuer, "/"), "https://")+"/.well-known/openid-configuration"] = document
			pages[strings.TrimPrefix(p.metadata["jwks_uri"].(string), "https://")] = p.keys
			if preset == PresetKeycloak { // the way of the back channel
				pages["keycloak.sso.svc/realms/shop/.well-known/openid-configuration"] = document
			}
			if preset == PresetEntra { // one document for all tenants
				pages["login.microsoftonline.com/common/v2.0/.well-known/openid-configuration"] = []byte(strings.ReplaceAll(string(document), entraTenant, tenantIDPlaceholder))
				pages["login.microsoftonline.com/"+tenantIDPlaceholder+"/discovery/v2.0/keys"] = p.keys
			}
			if preset == PresetKubernetes {
				pages["kubernetes.default.svc/openid/v1/jwks"] = p.keys
			}
		}
		w.providers[preset] = p
	}
	var hosts []string
	for address := range pages {
		u, err := url.Parse("https://" + address)
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, u.Hostname())
	}
	site := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		page, ok := pages[r.Host+r.URL.Path]
		if !ok {
			http.NotFound(rw, r)
			return
		}
		rw.Header().Set("Content-Type", "application/json")
		_, _ = rw.Write(page)
	}))
	certificate, root := certificateFor(t, hosts)
	site.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	site.StartTLS()
	t.Cleanup(site.Close)
	roots := x509.NewCertPool()
	roots.AddCert(root)
	w.http = HTTPConfig{RootCAs: roots, ProxyURL: newTestProxy(t, false, site.Listener.Addr().String()).URL}
	return w
}

func certificateFor(t *testing.T, hosts []string) (tls.Certificate, *x509.Certificate) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the world"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, root
}

// token signs the provider's token with changes; nil takes a member away, and a
// member "header" of the changes has those of the header.
func (p *provider) token(t testing.TB, changes map[string]any) string {
	t.Helper()
	change := func(m, changes map[string]any) string {
		m = maps.Clone(m)
		for name, value := range changes {
			if m[name] = value; value == nil {
				delete(m, name)
			}
		}
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	changes = maps.Clone(changes)
	header, _ := changes["header"].(map[string]any)
	delete(changes, "header")
	alg, _ := p.header["alg"].(string)
	return sign(t, Algorithm(alg), change(p.header, header), change(p.claims, changes))
}

type fields = map[string]any

const (
	entraTenant = "1f2e3d4c-5b6a-4978-8695-a4b3c2d1e0f9"
	entraV1     = "https://sts.windows.net/" + entraTenant + "/"
	entraV2     = "https://login.microsoftonline.com/" + entraTenant + "/v2.0"
)

// presetCases has for each preset what its good token says, the same written as
// fields beside preset generic, and the provider's quirks.
var presetCases = map[Preset]struct {
	audience string
	issuer   IssuerConfig // what is configured beside issuer, preset and audience
	want     string       // of the good token
	written  IssuerConfig // in place of the preset, "" in Name if that cannot be
	quirks   []quirk
}{
	PresetGeneric: {
		audience: "orders-api",
		want:     `sub "248289761001" client "web" scopes ["openid" "orders.read"] roles ["clerk"] tenant ""`,
		written:  IssuerConfig{Name: "x"},
		quirks: []quirk{
			{"scp and azp count where scope and client_id are absent", fields{"scope": nil, "scp": []string{"a"}, "client_id": nil, "azp": "cli"}, "", `client "cli" scopes ["a"]`},
			{"an ID token", fields{"nonce": "n"}, WrongTokenType, ""},
			{"no audience", fields{"aud": nil}, WrongAudience, ""},
			{"a bound token", fields{"cnf": fields{"jkt": "x"}}, ProofMissing, ""},
		},
	},
	PresetAuth0: {
		audience: "https://orders.example.com",
		want:     `sub "auth0|64b0c9a1f2e3d4a5b6c7d8e9" client "mZ8Kq1tYcWn3RfLb0dVs5hJx7gPa2eUo" scopes ["openid" "profile" "read:orders"] roles [] tenant ""`,
		written:  IssuerConfig{Name: "x", Mappings: ClaimMappings{Scopes: claimNames("scope", "permissions")}},
		quirks: []quirk{
			{"permissions count where there is no scope", fields{"scope": nil}, "", `scopes ["read:orders" "write:orders"]`},
			{"a machine's token", fields{"sub": "mZ8K@clients", "aud": "https://orders.example.com", "gty": "client-credentials"}, "", `sub "mZ8K@clients"`},
			{"the RFC 9068 profile", fields{"header": fields{"typ": "at+jwt"}, "azp": nil, "client_id": "web", "jti": "1"}, "", `client "web"`},
			{"the issuer without its slash", fields{"iss": "https://example-shop.eu.auth0.com"}, UnknownIssuer, ""},
			{"a custom domain that is not configured", fields{"iss": "https://login.example.com/"}, UnknownIssuer, ""},
			{"a token for userinfo alone", fields{"aud": "https://example-shop.eu.auth0.com/userinfo"}, WrongAudience, ""},
		},
	},
	PresetOkta: {
		audience: "api://default",
		want:     `sub "00u1b2c3d4E5f6G7h8i9" client "0oa1b2c3d4E5f6G7h8i9" scopes ["openid" "orders.read"] roles [] tenant ""`,
		written:  IssuerConfig{Name: "x", Mappings: ClaimMappings{Subject: claimNames("uid", "sub"), Client: claimNames("cid"), Scopes: claimNames("scp")}},
		quirks: []quirk{
			{"a machine's token has no uid", fields{"uid": nil, "sub": "0oa1b2c3d4E5f6G7h8i9"}, "", `sub "0oa1b2c3d4E5f6G7h8i9"`},
			{"a token of the org authorization server", fields{"iss": "https://example.okta.com", "aud": "https://example.okta.com"}, UnknownIssuer, ""},
			{"a cid that is no string", fields{"cid": 7}, InvalidClaim, ""},
		},
	},
	PresetEntra: {
		audience: "6a7b8c9d-0e1f-4203-8415-263748596a7b",
		want:     `sub "Pq3RsT6uVwX9yZa2BcD5eFg8HiJ" client "b1c2d3e4-f506-4718-8293-a4b5c6d7e8f9" scopes ["Orders.Read" "Orders.Write"] roles ["Orders.Approve"] tenant "` + entraTenant + `"`,
		written: IssuerConfig{Name: "x", Aliases: []string{entraV1}, Mappings: ClaimMappings{
			Client: claimNames("azp", "appid"), Scopes: claimNames("scp"), Tenant: claimNames("tid"),
		}},
		quirks: []quirk{
			{"a v1 token of the same tenant", fields{"iss": entraV1, "ver": "1.0", "azp": nil, "appid": "cli"}, "", `client "cli"`},
			{"an application's token has roles and no scp", fields{"scp": nil, "idtyp": "app"}, "", `scopes [] roles ["Orders.Approve"]`},
			{"another tenant", fields{"iss": strings.Replace(entraV2, "1f2e", "0000", 1)}, UnknownIssuer, ""},
			{"another tenant's tid under this issuer", fields{"tid": "00000000-aaaa-4bbb-8ccc-dddddddddddd"}, UnknownKey, ""},
			{"no tid, and keys that are bound to one", fields{"tid": nil}, UnknownKey, ""},
			{"a tid that is no GUID", fields{"tid": entraTenant + "/v2.0?"}, UnknownKey, ""},
			{"a key that is bound to another tenant", fields{"header": fields{"kid": "BoundToAnotherTenant00000000"}}, UnknownKey, ""},
			{"a key of personal accounts", fields{"header": fields{"kid": "Consumer0nlyKeyOfPersonalAcc"}}, UnknownKey, ""},
			{"a token for Microsoft Graph", fields{"header": fields{"nonce": "n"}, "aud": "00000003-0000-0000-c000-000000000000"}, WrongAudience, ""},
			{"an ID token", fields{"nonce": "n"}, WrongTokenType, ""},
		},
	},
	PresetCognito: {
		audience: "1example23456789abcdefghij",
		want:     `sub "9a8b7c6d-5e4f-4321-8fed-cba987654321" client "1example23456789abcdefghij" scopes ["openid" "orders/read"] roles ["clerks" "admins"] tenant ""`,
		written: IssuerConfig{
			Name:     "x",
			Require:  []ClaimRule{{Name: claimNames("token_use")[0], Values: []Scalar{StringScalar("access")}}},
			Mappings: ClaimMappings{Roles: claimNames("cognito:groups"), Audience: claimNames("client_id")},
		},
		quirks: []quirk{
			{"another client", fields{"client_id": "other"}, WrongAudience, ""},
			{"no client", fields{"client_id": nil}, WrongAudience, ""},
			{"an aud that is there counts alone", fields{"aud": "https://orders.example.com"}, WrongAudience, ""},
			{"an ID token", fields{"token_use": "id", "aud": "1example23456789abcdefghij"}, WrongTokenType, ""},
			{"a token of no stated use", fields{"token_use": nil}, WrongTokenType, ""},
			{"signed with the key of ID tokens", fields{"header": fields{"kid": "aWRUb2tlbktleUZvckV4YW1wbGVQb29sMDE9"}}, BadSignature, ""},
		},
	},
	PresetKeycloak: {
		audience: "orders-api",
		want:     `sub "2b3c4d5e-6f70-4812-9a3b-4c5d6e7f8091" client "web" scopes ["email" "profile"] roles ["offline_access" "clerk"] tenant ""`,
		written: IssuerConfig{
			Name:     "x",
			Require:  []ClaimRule{{Name: claimNames("typ")[0], Values: []Scalar{StringScalar("Bearer"), StringScalar("DPoP")}}},
			Mappings: ClaimMappings{Client: claimNames("azp", "client_id"), Roles: claimNames("/realm_access/roles")},
		},
		quirks: []quirk{
			{"no audience mapper", fields{"aud": "account"}, WrongAudience, ""},
			{"no audience at all", fields{"aud": nil}, WrongAudience, ""},
			{"a refresh token", fields{"typ": "Refresh"}, WrongTokenType, ""},
			{"an ID token", fields{"typ": "ID"}, WrongTokenType, ""},
			{"the name of the back channel in iss", fields{"iss": "https://keycloak.sso.svc/realms/shop"}, UnknownIssuer, ""},
			{"the key for encryption", fields{"header": fields{"kid": "encKeyOfTheRealm-JxkQ0a1b2c3d4e5f6g7h8i9j0k"}}, UnknownKey, ""},
		},
	},
	PresetGoogle: {
		audience: "https://orders.example.com",
		want:     `sub "110000000000000000042" client "110000000000000000042" scopes [] roles [] tenant ""`,
		written:  IssuerConfig{Name: "x", Aliases: []string{"accounts.google.com"}, IDTokens: true, Mappings: ClaimMappings{Client: claimNames("azp")}},
		quirks: []quirk{
			{"the old spelling of the issuer", fields{"iss": "accounts.google.com"}, "", `sub "110000000000000000042"`},
			{"a user's ID token", fields{"at_hash": "x", "nonce": "n", "hd": "example.com"}, "", `sub "110000000000000000042"`},
			{"a third spelling", fields{"iss": "http://accounts.google.com"}, UnknownIssuer, ""},
			{"another audience", fields{"aud": "https://other.example.com"}, WrongAudience, ""},
		},
	},
	PresetGitHub: {
		audience: "orders-api",
		want:     `sub "repo:example-org/orders:environment:production" client "" scopes [] roles [] tenant ""`,
		written:  IssuerConfig{Name: "x", Mappings: ClaimMappings{Scopes: claimNames()}},
		quirks: []quirk{
			{"the default audience is the owner's URL", fields{"aud": "https://github.com/example-org"}, WrongAudience, ""},
			{"an enterprise's own issuer", fields{"iss": "https://token.actions.githubusercontent.com/example"}, UnknownIssuer, ""},
			{"a claim scope is no scope", fields{"scope": "admin"}, "", `scopes []`},
		},
	},
	PresetGitLab: {
		audience: "orders-api",
		want:     `sub "project_path:example-group/orders:ref_type:branch:ref:main" client "" scopes [] roles [] tenant ""`,
		written:  IssuerConfig{Name: "x", Mappings: ClaimMappings{Scopes: claimNames()}},
		quirks: []quirk{
			{"the audience of another job", fields{"aud": "https://vault.example.com"}, WrongAudience, ""},
			{"an ID token of a login", fields{"nonce": "n"}, WrongTokenType, ""},
		},
	},
	PresetKubernetes: {
		audience: "orders-api",
		want:     `sub "system:serviceaccount:shop:web" client "" scopes [] roles [] tenant "shop"`,
		written:  IssuerConfig{Name: "x", Mappings: ClaimMappings{Tenant: claimNames("/kubernetes.io/namespace")}},
		quirks: []quirk{
			{"a token for the API server", fields{"aud": []string{"https://kubernetes.default.svc.cluster.local"}}, WrongAudience, ""},
			{"an old secret's token never expires", fields{"exp": nil, "aud": nil}, InvalidClaim, ""},
			{"another of the cluster's issuers", fields{"iss": "https://kubernetes.default.svc"}, UnknownIssuer, ""},
		},
	},
	PresetSPIFFE: {
		audience: "spiffe://example.org/ns/shop/sa/orders",
		issuer:   IssuerConfig{JWKSURL: "https://spire.example.org/bundle"},
		want:     `sub "spiffe://example.org/ns/shop/sa/web" client "" scopes [] roles [] tenant ""`,
		quirks: []quirk{
			{"typ JOSE", fields{"header": fields{"typ": "JOSE"}}, "", `sub "spiffe://example.org/ns/shop/sa/web"`},
			{"no typ", fields{"header": fields{"typ": nil}}, "", `sub "spiffe://example.org/ns/shop/sa/web"`},
			{"another typ", fields{"header": fields{"typ": "at+jwt"}}, WrongTokenType, ""},
			{"an iss that is there wins", fields{"iss": "https://oidc.example.org"}, UnknownIssuer, ""},
			{"the trust domain in iss", fields{"iss": "spiffe://example.org"}, "", `sub "spiffe://example.org/ns/shop/sa/web"`},
			{"an empty iss is there", fields{"iss": ""}, UnknownIssuer, ""},
			{"another trust domain", fields{"sub": "spiffe://other.org/ns/shop/sa/web"}, UnknownIssuer, ""},
			{"another trust domain under this issuer", fields{"iss": "spiffe://example.org", "sub": "spiffe://other.org/ns/shop/sa/web"}, InvalidClaim, ""},
			{"a trust domain that ends like it", fields{"sub": "spiffe://evil-example.org/web"}, UnknownIssuer, ""},
			{"no sub", fields{"sub": nil}, UnknownIssuer, ""},
			{"no sub under this issuer", fields{"iss": "spiffe://example.org", "sub": nil}, InvalidClaim, ""},
			{"a trust domain with a port", fields{"sub": "spiffe://example.org:443/web"}, UnknownIssuer, ""},
			{"a path that climbs", fields{"iss": "spiffe://example.org", "sub": "spiffe://example.org/a/../b"}, InvalidClaim, ""},
			{"no aud", fields{"aud": nil}, WrongAudience, ""},
			{"a key for signatures of another use", fields{"header": fields{"kid": "useSig"}}, UnknownKey, ""},
			{"a key of no stated use", fields{"header": fields{"kid": "useNothing"}}, UnknownKey, ""},
		},
	},
	PresetDuende: {
		audience: "orders-api",
		want:     `sub "818727" client "web" scopes ["openid" "orders.read"] roles [] tenant ""`,
		written:  IssuerConfig{Name: "x", TokenTypes: []string{"at+jwt"}},
		quirks: []quirk{
			{"scopes as one string", fields{"scope": "openid orders.read"}, "", `scopes ["openid" "orders.read"]`},
			{"no ApiResource, no audience", fields{"aud": nil}, WrongAudience, ""},
			{"the static audience", fields{"aud": "https://identity.example.com/resources"}, WrongAudience, ""},
			{"an ID token is typ JWT", fields{"header": fields{"typ": "JWT"}}, WrongTokenType, ""},
		},
	},
	PresetHydra: {
		audience: "orders-api",
		want:     `sub "ada@example.com" client "c5d4e3f2-0000-4000-8000-000000000001" scopes ["openid" "orders.read"] roles ["clerk"] tenant ""`,
		written:  IssuerConfig{Name: "x", Mappings: ClaimMappings{Scopes: claimNames("scp", "scope"), Roles: claimNames("/ext/roles", "roles")}},
		quirks: []quirk{
			{"scopes as one string, by its configuration", fields{"scp": nil, "scope": "a b"}, "", `scopes ["a" "b"]`},
			{"claims of its own at the top", fields{"ext": nil, "roles": []string{"admin"}}, "", `roles ["admin"]`},
			{"no audience was asked for", fields{"aud": []string{}}, WrongAudience, ""},
		},
	},
	PresetZitadel: {
		audience: "250000000000000001",
		want:     `sub "270000000000000001" client "260000000000000001@shop" scopes [] roles ["approver" "clerk"] tenant ""`,
		written:  IssuerConfig{Name: "x", Mappings: ClaimMappings{Roles: claimNames("urn:zitadel:iam:org:project:roles"), RoleObjects: true}},
		quirks: []quirk{
			{"roles as a list", fields{"urn:zitadel:iam:org:project:roles": []string{"clerk"}}, "", `roles ["clerk"]`},
			{"no roles were asked for", fields{"urn:zitadel:iam:org:project:roles": nil}, "", `roles []`},
			{"roles of nobody", fields{"urn:zitadel:iam:org:project:roles": fields{}}, "", `roles []`},
			{"roles that are a number", fields{"urn:zitadel:iam:org:project:roles": 1}, InvalidClaim, ""},
		},
	},
	PresetDex: {
		audience: "orders-api",
		want:     `sub "CgNhZGESBWxvY2Fs" client "orders-api" scopes [] roles ["clerks" "admins"] tenant ""`,
		written:  IssuerConfig{Name: "x", IDTokens: true, Mappings: ClaimMappings{Client: claimNames("azp", "aud"), Roles: claimNames("groups")}},
		quirks: []quirk{
			{"a token for another client", fields{"aud": []string{"orders-api", "web"}, "azp": "web"}, "", `client "web"`},
			{"two audiences and no azp name no client", fields{"aud": []string{"orders-api", "web"}}, "", `client ""`},
			{"a list of one audience", fields{"aud": []string{"orders-api"}}, "", `client "orders-api"`},
			{"another client's token", fields{"aud": "web"}, WrongAudience, ""},
			{"a refresh token", fields{"typ": "Refresh"}, WrongTokenType, ""},
		},
	},
	PresetRFC9068: {
		audience: "orders-api",
		want:     `sub "5ba552d67" client "s6BhdRkqt3" scopes ["openid" "orders.read"] roles ["clerk"] tenant ""`,
		quirks: []quirk{
			{"the long form of its typ", fields{"header": fields{"typ": "application/AT+JWT"}}, "", `sub "5ba552d67"`},
			{"typ JWT", fields{"header": fields{"typ": "JWT"}}, WrongTokenType, ""},
			{"no typ", fields{"header": fields{"typ": nil}}, WrongTokenType, ""},
			{"no iss", fields{"iss": nil}, UnknownIssuer, ""},
			{"no exp", fields{"exp": nil}, InvalidClaim, ""},
			{"no aud", fields{"aud": nil}, WrongAudience, ""},
			{"no sub", fields{"sub": nil}, InvalidClaim, ""},
			{"no client_id", fields{"client_id": nil, "azp": "web"}, InvalidClaim, ""},
			{"no iat", fields{"iat": nil}, InvalidClaim, ""},
			{"no jti", fields{"jti": nil}, InvalidClaim, ""},
		},
	},
}

// quirk is a token with changes and what becomes of it: a reason, or "" and a
// part of what it says.
type quirk struct {
	rule    string
	changes map[string]any
	reason  Reason
	says    string
}

func says(tok *Token) string {
	return fmt.Sprintf("sub %q client %q scopes %q roles %q tenant %q", tok.Subject, tok.ClientID, tok.Scopes, tok.Roles, tok.Tenant)
}

func (w *world) validator(t *testing.T, ic IssuerConfig) *Validator {
	t.Helper()
	ic.Name, ic.HTTP = "provider", w.http
	v, err := NewValidator(Config{Issuers: []IssuerConfig{ic}, Clock: func() time.Time { return time.Unix(1_800_000_060, 0) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

func TestPresetsReadTheirProvidersTokens(t *testing.T) {
	w := newWorld(t)
	for _, preset := range Presets() {
		t.Run(string(preset), func(t *testing.T) {
			c, ok := presetCases[preset]
			if !ok {
				t.Fatal("there are no cases")
			}
			p := w.providers[preset]
			ic := c.issuer
			ic.Issuer, ic.Preset, ic.Audiences = p.issuer, preset, []string{c.audience}
			v := w.validator(t, ic)
			good, err := v.Validate(t.Context(), p.token(t, nil), Requirement{})
			if err != nil {
				t.Fatal(err)
			}
			if got := says(good); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			for _, q := range c.quirks {
				tok, err := v.Validate(t.Context(), p.token(t, q.changes), Requirement{})
				if ReasonOf(err) != q.reason {
					t.Errorf("%s: %v, want %q", q.rule, err, q.reason)
				} else if err == nil && !strings.Contains(says(tok), q.says) {
					t.Errorf("%s: %s, want %s", q.rule, says(tok), q.says)
				}
			}
			if c.written.Name == "" {
				return
			}
			// The preset written as fields comes to the same verdict everywhere.
			written := c.written
			written.Issuer, written.Audiences = ic.Issuer, ic.Audiences
			fieldwise := w.validator(t, written)
			for _, q := range append(c.quirks, quirk{}) {
				token := p.token(t, q.changes)
				want, err1 := v.Validate(t.Context(), token, Requirement{})
				got, err2 := fieldwise.Validate(t.Context(), token, Requirement{})
				if (err1 == nil) != (err2 == nil) || err1 == nil && says(want) != says(got) {
					t.Errorf("%s: as fields %v, by the preset %v", q.rule, err2, err1)
				}
			}
		})
	}
}

func TestWhereAProvidersKeysAre(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		rule   string
		issuer IssuerConfig
		reason Reason
	}{
		{"keycloak: metadata by the back channel, the issuer is the front's", IssuerConfig{
			Preset: PresetKeycloak, DiscoveryURL: "https://keycloak.sso.svc/realms/shop/.well-known/openid-configuration",
		}, ""},
		{"keycloak: the keys of the back channel alone", IssuerConfig{
			Preset: PresetKeycloak, JWKSURL: "https://keycloak.sso.svc/realms/shop/protocol/openid-connect/certs",
		}, ""},
		{"entra: one document for all tenants, for one of them", IssuerConfig{
			Preset: PresetEntra, DiscoveryURL: "https://login.microsoftonline.com/common/v2.0/.well-known/openid-configuration",
			JWKSURL: "https://login.microsoftonline.com/" + entraTenant + "/discovery/v2.0/keys",
		}, ""},
		{"kubernetes: an issuer that does not resolve, with jwksURL", IssuerConfig{
			Preset: PresetKubernetes, JWKSURL: "https://kubernetes.default.svc/openid/v1/jwks",
		}, ""},
		{"generic: metadata of another issuer", IssuerConfig{
			Preset: PresetGeneric, DiscoveryURL: "https://dex.example.com/.well-known/openid-configuration",
		}, KeysUnavailable},
	} {
		p := w.providers[tt.issuer.Preset]
		tt.issuer.Issuer, tt.issuer.Audiences = p.issuer, []string{presetCases[tt.issuer.Preset].audience}
		_, err := w.validator(t, tt.issuer).Validate(t.Context(), p.token(t, nil), Requirement{})
		if ReasonOf(err) != tt.reason {
			t.Errorf("%s: %v, want %q", tt.rule, err, tt.reason)
		}
	}
}

// Metadata for all tenants is good for one tenant under preset entra only, and
// only if its template makes the configured issuer.
func TestMetadataForAllTenants(t *testing.T) {
	for _, tt := range []struct {
		preset           Preset
		document, issuer string
		good             bool
	}{
		{PresetEntra, "https://login.microsoftonline.com/{tenantid}/v2.0", entraV2, true},
		{PresetEntra, entraV2, entraV2, true},
		{PresetEntra, "https://login.microsoftonline.com/{tenantid}/v2.0", entraV1, false},
		{PresetEntra, "https://login.example/{tenantid}/v2.0", entraV2, false},
		{PresetGeneric, "https://login.microsoftonline.com/{tenantid}/v2.0", entraV2, false},
	} {
		web := newSite(t, false)
		_, key := ecJWK(t, "k", elliptic.P256())
		web.put("/metadata", page(fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, tt.document, web.URL+"/keys")))
		web.put("/keys", page(setOf(key)))
		rules, _ := tt.preset.Rules()
		s, _ := sourceFor(t, issuerKeysConfig{issuer: tt.issuer, discoveryURL: web.URL + "/metadata", templateMetadata: rules.TemplateMetadata}, time.Now)
		if _, err := s.fetch(t.Context(), false); (err == nil) != tt.good {
			t.Errorf("%s: metadata of %s for %s: %v", tt.preset, tt.document, tt.issuer, err)
		}
	}
}

func TestATokenForGraphIsToldFromOthers(t *testing.T) {
	w := newWorld(t)
	p := w.providers[PresetEntra]
	for _, tt := range []struct {
		audiences []string
		changes   fields
		reason    Reason
	}{
		{[]string{presetCases[PresetEntra].audience}, fields{"header": fields{"nonce": "n"}, "aud": "https://graph.microsoft.com"}, WrongAudience},
		{nil, fields{"header": fields{"nonce": "n"}, "aud": "https://graph.microsoft.com"}, BadSignature},
	} {
		v := w.validator(t, IssuerConfig{Issuer: p.issuer, Preset: PresetEntra, Audiences: tt.audiences, AnyAudience: tt.audiences == nil})
		token := p.token(t, tt.changes)
		if tt.reason == BadSignature { // the signature is over another header
			token = token[:strings.LastIndexByte(token, '.')] + p.token(t, nil)[strings.LastIndexByte(p.token(t, nil), '.'):]
		}
		_, err := v.Validate(t.Context(), token, Requirement{})
		if ReasonOf(err) != tt.reason || !strings.Contains(err.Error(), "this is a token for Microsoft Graph") {
			t.Errorf("%v, want %s and a word on Graph", err, tt.reason)
		}
	}
}

func TestEveryPresetHasCases(t *testing.T) {
	for preset := range presetCases {
		if !slices.Contains(Presets(), preset) {
			t.Errorf("there is no preset %s", preset)
		}
	}
	if Preset("fapi2").known() || Preset("keyclock").known() || !Preset("").known() {
		t.Error("a preset that does not exist has rules, or generic has none")
	}
}

func (p Preset) known() bool {
	_, ok := p.Rules()
	return ok
}

func TestTheIssuersThatAPresetKnows(t *testing.T) {
	for _, tt := range []struct {
		preset  Preset
		issuer  string
		aliases []string
		ids     []string // nil: refused
	}{
		{PresetGeneric, "https://id.example", []string{"x"}, []string{"https://id.example", "x"}},
		{PresetGoogle, "https://accounts.google.com", nil, []string{"https://accounts.google.com", "accounts.google.com"}},
		{PresetGoogle, "accounts.google.com", nil, []string{"accounts.google.com", "https://accounts.google.com"}},
		{PresetGoogle, "https://accounts.google.com/", nil, []string{"https://accounts.google.com/"}},
		{PresetEntra, entraV2, nil, []string{entraV2, entraV1}},
		{PresetEntra, entraV1, nil, []string{entraV1, entraV2}},
		{PresetEntra, entraV2, []string{entraV1}, []string{entraV2, entraV1}},
		{PresetEntra, "https://shop.ciamlogin.com/" + entraTenant + "/v2.0", nil, []string{"https://shop.ciamlogin.com/" + entraTenant + "/v2.0"}},
		{PresetEntra, "https://login.microsoftonline.com/consumers/v2.0", nil, nil},
		{PresetEntra, "https://login.microsoftonline.com/common/v2.0", nil, []string{"https://login.microsoftonline.com/common/v2.0"}}, // with a list of tenants
		{PresetEntra, "https://login.microsoftonline.com/" + entraTenant, nil, nil},
		{PresetEntra, "https://sts.windows.net/" + entraTenant, nil, nil},
		{PresetAuth0, "https://example.eu.auth0.com", nil, nil},
		{PresetSPIFFE, "https://oidc.example.org", nil, nil},
		{PresetSPIFFE, "https://oidc.example.org", []string{"spiffe://example.org"}, []string{"https://oidc.example.org", "spiffe://example.org"}},
	} {
		err := tt.preset.CheckIssuer(tt.issuer, tt.aliases)
		if (err == nil) != (tt.ids != nil) {
			t.Errorf("%s %s: %v", tt.preset, tt.issuer, err)
		}
		if ids := tt.preset.Identifiers(tt.issuer, tt.aliases); tt.ids != nil && !slices.Equal(ids, tt.ids) {
			t.Errorf("%s %s: %q, want %q", tt.preset, tt.issuer, ids, tt.ids)
		}
	}
}

func TestWhatAPresetDoesNotTakeIsAFault(t *testing.T) {
	for want, ic := range map[string]IssuerConfig{
		"TokenTypes are fixed by preset rfc9068": {Issuer: "https://as.example", Preset: PresetRFC9068, TokenTypes: []string{"JWT"}},
		`there is no preset "fapi2"`:             {Issuer: "https://as.example", Preset: "fapi2"},
		`write "https://example.auth0.com/"`:     {Issuer: "https://example.auth0.com", Preset: PresetAuth0},
		"names no trust domain":                  {Issuer: "spiffe://example.org/web", Preset: PresetSPIFFE, JWKSURL: "https://spire.example.org/bundle"},
		"tokens name the tenant by its ID":       {Issuer: "https://login.microsoftonline.com/example.com/v2.0", Preset: PresetEntra},
	} {
		ic.Name = "x"
		if _, err := NewValidator(Config{Issuers: []IssuerConfig{ic}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	twice := []IssuerConfig{
		{Issuer: "spiffe://example.org", Name: "a", Preset: PresetSPIFFE, JWKSURL: "https://spire.example.org/bundle"},
		{Issuer: "example.org", Name: "b", Preset: PresetSPIFFE, JWKSURL: "https://spire.example.org/bundle"},
	}
	if _, err := NewValidator(Config{Issuers: twice}); err == nil || !strings.Contains(err.Error(), `the trust domain "example.org"`) {
		t.Errorf("one trust domain of two issuers: %v", err)
	}
}

// What a preset demands cannot be configured away.
func TestFieldsDoNotWeakenAPreset(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		rule    string
		preset  Preset
		issuer  IssuerConfig
		changes fields
		reason  Reason
	}{
		{"spiffe: another claim is the subject", PresetSPIFFE, IssuerConfig{
			JWKSURL: "https://spire.example.org/bundle", AnyAudience: true, Mappings: ClaimMappings{Subject: claimNames("name")},
		}, fields{"iss": "spiffe://example.org", "sub": "spiffe://other.org/web", "name": "spiffe://example.org/web"}, InvalidClaim},
		{"spiffe: any audience is one at least", PresetSPIFFE, IssuerConfig{JWKSURL: "https://spire.example.org/bundle", AnyAudience: true}, fields{"aud": nil}, WrongAudience},
		{"rfc9068: any audience is one at least", PresetRFC9068, IssuerConfig{AnyAudience: true}, fields{"aud": nil}, WrongAudience},
		{"rfc9068: no claim stands for aud", PresetRFC9068, IssuerConfig{
			Audiences: []string{"s6BhdRkqt3"}, Mappings: ClaimMappings{Audience: claimNames("client_id")},
		}, fields{"aud": nil}, WrongAudience},
		{"an aud that is empty is there", PresetCognito, IssuerConfig{Audiences: []string{"1example23456789abcdefghij"}}, fields{"aud": []string{}}, WrongAudience},
		{"an aud that is null is not", PresetCognito, IssuerConfig{Audiences: []string{"1example23456789abcdefghij"}}, fields{"aud": json.RawMessage("null")}, ""},
		{"cognito: ID tokens, if they are wanted", PresetCognito, IssuerConfig{Audiences: []string{"app"}, IDTokens: true}, fields{"aud": "app", "token_use": "id"}, ""},
		{"cognito: but no other use", PresetCognito, IssuerConfig{Audiences: []string{"app"}, IDTokens: true}, fields{"aud": "app", "token_use": "refresh"}, WrongTokenType},
	} {
		p := w.providers[tt.preset]
		tt.issuer.Issuer, tt.issuer.Preset = p.issuer, tt.preset
		if _, err := w.validator(t, tt.issuer).Validate(t.Context(), p.token(t, tt.changes), Requirement{}); ReasonOf(err) != tt.reason {
			t.Errorf("%s: %v, want %q", tt.rule, err, tt.reason)
		}
	}
}
