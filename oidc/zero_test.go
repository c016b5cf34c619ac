package oidc_test

import (
	"context"
	"errors"
	"go/ast"
	"slices"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc"
)

// zeros holds, for each exported type, its zero value to what is promised of it:
// it can be used, and it lets nobody in.
var zeros = map[string]func(t *testing.T){
	"Algorithm": func(t *testing.T) {
		var a oidc.Algorithm
		want(t, "known", a.Known(), false)
	},
	"CacheConfig": func(t *testing.T) {
		v, err := oidc.NewValidator(oidc.Config{Issuers: []oidc.IssuerConfig{{Issuer: "https://id.example.com", Name: "a"}}})
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		want(t, "stats of a cache that is off", v.CacheStats(), oidc.CacheStats{})
	},
	"CacheStats": func(t *testing.T) { want(t, "hits", oidc.CacheStats{}.Hits, 0) },
	"Challenge": func(t *testing.T) {
		want(t, "challenge", slices.Equal((oidc.Challenge{}).Values(oidc.MissingToken), []string{"Bearer"}), true)
		want(t, "challenges of the zero reason", len((oidc.Challenge{}).Values("")), 0)
	},
	"ClaimMappings": nil, // see IssuerConfig
	"ClaimName": func(t *testing.T) {
		_, found := oidc.Claims{}.Get(oidc.ClaimName{})
		want(t, "found", found, false)
		want(t, "text", oidc.ClaimName{}.String(), "")
	},
	"ClaimRule": func(t *testing.T) { want(t, "matches", oidc.ClaimRule{}.Matches(oidc.Claims{}), false) },
	"Claims": func(t *testing.T) {
		_, found := oidc.Claims{}.Top("sub")
		want(t, "found", found, false)
		want(t, "object", oidc.Claims{}.Object().Kind(), oidc.KindNull)
	},
	"Class": func(t *testing.T) { want(t, "class", oidc.Class(0), oidc.ClassInternal) },
	"Config": func(t *testing.T) {
		v, err := oidc.NewValidator(oidc.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		want(t, "a token at a validator without issuers", reasonOf(t, v, "a.b.c"), oidc.MalformedToken)
	},
	"DecryptionKey": func(t *testing.T) {
		_, err := oidc.NewDecrypter(oidc.DecryptionKey{})
		want(t, "refused", err != nil, true)
	},
	"Decrypter": nil, // see TestEncryptedMessagesNeedADecrypter
	"Error": func(t *testing.T) {
		e := &oidc.Error{}
		want(t, "cannot know", errors.Is(e, oidc.ErrCannotKnow), true)
		want(t, "status", e.Reason.Status(), 500)
		want(t, "text", e.Error(), "oidc: no reason given")
		want(t, "cause", e.Unwrap(), nil)
	},
	"FetchEvent":  nil, // written by the package only
	"FetchKind":   nil,
	"FetchResult": nil,
	"HTTPConfig":  nil, // see IssuerConfig
	"IDToken":     func(t *testing.T) { want(t, "subject", oidc.IDToken{}.Subject, "") },
	"IDTokenRequirement": func(t *testing.T) {
		v, err := oidc.NewValidator(oidc.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		_, err = v.ValidateIDToken(t.Context(), "a.b.c", oidc.IDTokenRequirement{})
		want(t, "reason", oidc.ReasonOf(err), oidc.Internal)
	},
	"IssuerConfig": func(t *testing.T) {
		v, err := oidc.NewValidator(oidc.Config{Issuers: []oidc.IssuerConfig{{}}})
		want(t, "an issuer without a name", v == nil && err != nil, true)
	},
	"IssuerStatus": func(t *testing.T) { want(t, "usable", oidc.IssuerStatus{}.Usable, false) },
	"KeyAlgorithm": nil, // see DecryptionKey
	"KeysConfig":   nil, // see IssuerConfig
	"Kind":         func(t *testing.T) { want(t, "kind", oidc.Kind(0), oidc.KindNull) },
	"Diagnosis":    func(t *testing.T) { want(t, "keys", len(oidc.Diagnosis{}.Keys), 0) },
	"Probe":        nil, // see Diagnosis
	"KeyInfo":      nil, // see Diagnosis
	"Preset":       nil, // see IssuerConfig
	"PresetRules":  nil, // data that is read, see Preset
	"Reason": func(t *testing.T) {
		want(t, "class", oidc.Reason("").Class(), oidc.ClassInternal)
		want(t, "status", oidc.Reason("").Status(), 500)
	},
	"LogoutToken": func(t *testing.T) { want(t, "subject", oidc.LogoutToken{}.Subject, "") },
	"Recipient":   nil, // see IDTokenRequirement
	"Proof":       nil, // see TestABoundTokenNeedsItsProofs
	"Requirement": nil, // see Validator: every test that asks for nothing uses it
	"Scalar": func(t *testing.T) {
		for _, v := range []oidc.Value{{}, oidc.Claims{}.Object()} {
			want(t, "matches", oidc.Scalar{}.Matches(v), false)
		}
		want(t, "text", oidc.Scalar{}.String(), "")
	},
	"SelfSigned":      nil, // a result
	"SelfSignedRules": nil, // see TestSelfSignedTokensAreHeldToTheirRules
	"SkippedKey":      func(t *testing.T) { want(t, "text", oidc.SkippedKey{}.String(), "a key without kid: ") },
	"StepUp":          func(t *testing.T) { want(t, "met", oidc.StepUp{}.MetBy(&oidc.Token{}, time.Time{}), true) },
	"Step":            func(t *testing.T) { want(t, "ok", oidc.Step{}.OK, false) },
	"TenantsConfig":   nil, // see IssuerConfig
	"TenantTemplate": func(t *testing.T) {
		_, ok := oidc.TenantTemplate{}.Tenant("acme")
		want(t, "matches", ok, false)
	},
	"Token": func(t *testing.T) { want(t, "principal", (&oidc.Token{}).Principal(), "") },
	"Validator": func(t *testing.T) {
		var v oidc.Validator
		_, err := v.Validate(t.Context(), "a.b.c", oidc.Requirement{})
		want(t, "reason", oidc.ReasonOf(err), oidc.UnknownIssuer)
		_, err = v.ValidateLogoutToken(t.Context(), "a.b.c", oidc.Recipient{Issuer: "https://id.example.com", ClientID: "app"})
		want(t, "reason", oidc.ReasonOf(err), oidc.UnknownIssuer)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		want(t, "the end of Run", v.Run(ctx), nil)
		want(t, "issuers", len(v.Status()), 0)
		want(t, "stats", v.CacheStats(), oidc.CacheStats{})
		v.Close()
		v.Close()
	},
	"Metadata": func(t *testing.T) {
		_, err := (&oidc.Metadata{}).EndpointURL("https://id.example.com/token")
		want(t, "an endpoint is refused", err != nil, true)
	},
	"MetadataConfig": func(t *testing.T) {
		_, err := oidc.NewMetadataSource(oidc.MetadataConfig{})
		want(t, "a source is refused", err != nil, true)
	},
	"MetadataSource": func(t *testing.T) {
		var s oidc.MetadataSource
		_, err := s.Metadata(t.Context())
		want(t, "metadata is refused", err != nil, true)
		want(t, "error of the last fetch", s.Err(), nil)
	},
	"Value": func(t *testing.T) {
		var v oidc.Value
		want(t, "kind", v.Kind(), oidc.KindNull)
		want(t, "text", v.Text(), "")
		want(t, "JSON", v.Raw(), "null")
		want(t, "compact JSON", string(v.AppendCompact(nil)), "null")
		want(t, "bool", v.Bool(), false)
		_, isInteger := v.Int64()
		_, isNumber := v.Float64()
		_, isList := v.Strings()
		_, isMember := v.Member("")
		want(t, "anything else", isInteger || isNumber || isList || isMember, false)
		for range v.Elements() {
			t.Error("it has an element")
		}
		for range v.Members() {
			t.Error("it has a member")
		}
	},
}

func want[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestZeroValuesAreSafe(t *testing.T) {
	_, files := sources(t)
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok && spec.Name.IsExported() {
				if _, known := zeros[spec.Name.Name]; !known {
					t.Errorf("say in the table zeros what the zero %s does", spec.Name.Name)
				}
			}
			return true
		})
	}
	for name, check := range zeros {
		if check != nil {
			t.Run(name, check)
		}
	}
}
