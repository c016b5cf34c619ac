package oidc

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Collections of test vectors that others keep. They are read from the folder
// that the environment variable CLAIMGATE_VECTORS names: cookbook (the JOSE
// cookbook of the IETF), wycheproof (C2SP) and identity-model (its vectors for
// validation, and fixtures).
const vectorsVariable = "CLAIMGATE_VECTORS"

func vectorsFolder(t *testing.T) string {
	t.Helper()
	folder := os.Getenv(vectorsVariable)
	if folder == "" {
		t.Skip(vectorsVariable + " does not name the folder with the vectors")
	}
	return folder
}

// reasons say why we do otherwise than a vector wants, by its id or by a
// pattern of ids (as path.Match reads it). Such a vector is not left out: it is
// run, and must come out otherwise.
type reasons map[string]string

const (
	onlyCompact = "JSON serialization: an access token is a compact JWS"
	noJWE       = "JWE: an access token is signed, not encrypted"
	noHMAC      = "HMAC: whoever can verify could sign, so published keys cannot be symmetric"
	noDetached  = "detached content: an access token carries its claims"
	noPrivate   = "a private or symmetric key, which has no place in a published set"
)

// tally runs vectors and compares what they want with what we do.
type tally struct {
	*testing.T
	skips   reasons
	used    map[string]bool // entries of skips that were needed
	run     int
	skipped int
}

func newTally(t *testing.T, skips reasons) *tally {
	t.Helper()
	return &tally{T: t, skips: skips, used: map[string]bool{}}
}

// check counts one vector. Each that is not as it wants to be needs a reason,
// and one that is needs none.
func (y *tally) check(id string, accepted, want bool) {
	y.Helper()
	var entry string
	for pattern := range y.skips {
		if ok, err := path.Match(pattern, id); err != nil || ok && entry != "" {
			y.Fatalf("%s: the entries %s and %s: %v", id, pattern, entry, err)
		} else if ok {
			entry = pattern
		}
	}
	y.used[entry] = true
	switch {
	case accepted == want && entry == "":
		y.run++
	case accepted == want:
		y.Errorf("%s is as the vector wants it and needs no entry in the skip list", id)
	case entry == "":
		y.Errorf("%s: accepted is %t, must be %t", id, accepted, want)
	default:
		y.skipped++
	}
}

// done reports the counts, and entries of the skip list that no vector needs.
func (y *tally) done(total int) {
	y.Helper()
	for _, entry := range slices.Sorted(maps.Keys(y.skips)) {
		if !y.used[entry] {
			y.Errorf("the entry %s of the skip list fits no vector", entry)
		}
	}
	if y.run+y.skipped != total && !y.Failed() {
		y.Errorf("%d run and %d skipped, of %d", y.run, y.skipped, total)
	}
	y.Logf("%d vectors as wanted, %d otherwise for a reason that is written down", y.run, y.skipped)
}

// readVectors decodes a file of vectors. What it has beyond v is ignored.
func readVectors(t *testing.T, v any, elements ...string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elements...))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%s: %v", filepath.Join(elements[1:]...), err)
	}
}

// listVectors returns the files under a folder, with slashes.
func listVectors(t *testing.T, folder string) []string {
	t.Helper()
	var files []string
	err := fs.WalkDir(os.DirFS(folder), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// public returns a JWK without its private members: what the signer would
// publish.
func public(t *testing.T, jwk json.RawMessage) string {
	t.Helper()
	var m members
	if err := json.Unmarshal(jwk, (*map[string]any)(&m)); err != nil {
		t.Fatal(err)
	}
	if m["kty"] == "oct" {
		return m.String() // has no public half
	}
	return m.with("d", nil, "p", nil, "q", nil, "dp", nil, "dq", nil, "qi", nil).String()
}

// The JOSE cookbook: RFC 7520, 7797 and 8037. Every example is a good one, so
// whatever is refused needs a reason.
func TestCookbook(t *testing.T) {
	folder := filepath.Join(vectorsFolder(t), "cookbook")
	y := newTally(t, reasons{
		"jwk/3_2.ec_private_key":                noPrivate,
		"jwk/3_4.rsa_private_key":               noPrivate,
		"jwk/3_5.symmetric_key_mac_computation": noPrivate,
		"jwk/3_6.symmetric_key_encryption":      noPrivate,

		"jws/4_4.hmac-sha2_integrity_protection compact":  noHMAC,
		"jws/4_5.signature_with_detached_content compact": noDetached,
		"rfc7797/hmac-sha2_b64_false compact":             "b64: RFC 7797 section 7 forbids it in a JWT",

		"jwe/* compact":              noJWE,
		"curve25519/ecdh-es compact": noJWE,
		"*/* json":                   onlyCompact,
		"*/* json_flat":              onlyCompact,
	})
	total := 0
	for _, name := range listVectors(t, folder) {
		id := strings.TrimSuffix(name, ".json")
		if strings.HasPrefix(id, "jwk/") {
			var jwk json.RawMessage
			readVectors(t, &jwk, folder, name)
			_, err := parseKey(string(jwk))
			y.check(id, err == nil, true)
			total++
			continue
		}
		var example struct {
			Input struct {
				Payload *string
				Key     json.RawMessage
			}
			Output map[string]json.RawMessage
		}
		readVectors(t, &example, folder, name)
		keys := setText()
		if in := example.Input; len(in.Key) > 0 && in.Key[0] == '{' {
			keys = setText(public(t, in.Key))
		}
		for form, output := range example.Output {
			token := string(output)
			if form == "compact" {
				if err := json.Unmarshal(output, &token); err != nil {
					t.Fatal(err)
				}
			}
			payload, reason := verifyJWS(token, keys)
			y.check(id+" "+form, reason == "", true)
			total++
			if reason == "" && (example.Input.Payload == nil || payload != *example.Input.Payload) {
				t.Errorf("%s: the payload is %q", id, payload)
			}
		}
	}
	if total < 60 {
		t.Errorf("only %d vectors: the folder is not the cookbook", total)
	}
	y.done(total)
}

// The messages that the cookbook encrypts are opened, as far as their algorithms are
// accepted. (They are no JWTs, so that only decryption is run.)
func TestCookbookOfEncryption(t *testing.T) {
	folder := filepath.Join(vectorsFolder(t), "cookbook")
	const notForUs = "an algorithm that is not accepted: a shared key, a password, SHA-1 or RSA1_5"
	y := newTally(t, reasons{
		"jwe/5_[1236789].*": notForUs, "curve25519/ecdh-es": "X25519: no provider is known that uses it",
	})
	v := &Validator{store: newKeyStore(keyStoreConfig{clock: time.Now, logger: slog.New(slog.DiscardHandler)})}
	total := 0
	for _, name := range listVectors(t, folder) {
		if !strings.HasPrefix(name, "jwe/") && name != "curve25519/ecdh-es.json" {
			continue
		}
		var example struct {
			Input struct {
				Plaintext string
				Alg       any
				Key       json.RawMessage
			}
			Output struct{ Compact string }
		}
		readVectors(t, &example, folder, name)
		if example.Output.Compact == "" { // in other forms only
			continue
		}
		total++
		var key jose.JSONWebKey
		alg, _ := example.Input.Alg.(string)
		var d *Decrypter
		if err := json.Unmarshal(example.Input.Key, &key); err == nil {
			d, _ = NewDecrypter(DecryptionKey{ID: key.KeyID, Algorithm: KeyAlgorithm(alg), Private: key.Key})
		}
		plain, err := v.decrypted(t.Context(), example.Output.Compact, d)
		y.check(strings.TrimSuffix(name, ".json"), err == nil, true)
		if err == nil && plain != example.Input.Plaintext {
			t.Errorf("%s: the plaintext is %q", name, plain)
		}
	}
	y.done(total)
}

type wycheproof struct {
	NumberOfTests int
	TestGroups    []struct {
		Private, Public json.RawMessage
		Tests           []struct {
			TCID    int
			Comment string
			JWS     json.RawMessage
			JWE     json.RawMessage
			Result  string
		}
	}
}

// runWycheproof runs a file of Wycheproof's: each group has a key or a set, each
// test a token. The keys as such are for judge.
func runWycheproof(t *testing.T, file string, skips reasons, judge func(y *tally, id int, set *keySet)) {
	t.Helper()
	var vectors wycheproof
	readVectors(t, &vectors, vectorsFolder(t), "wycheproof", file)
	y := newTally(t, skips)
	for _, group := range vectors.TestGroups {
		keys := string(group.Public)
		if keys == "" {
			keys = string(group.Private) // symmetric, or of a JWE
		}
		if !strings.Contains(keys, `"keys"`) {
			keys = setText(keys)
		}
		set, err := parseKeySet([]byte(keys))
		if err != nil {
			set = &keySet{}
		}
		for _, test := range group.Tests {
			token := string(test.JWS) + string(test.JWE)
			if token != "" && token[0] == '"' {
				if err := json.Unmarshal([]byte(token), &token); err != nil {
					t.Fatal(err)
				}
			}
			if test.Result != "valid" && test.Result != "invalid" {
				t.Fatalf("test %d wants %q", test.TCID, test.Result)
			}
			_, reason := verifyJWS(token, keys)
			y.check(fmt.Sprintf("%d %s", test.TCID, test.Comment), reason == "", test.Result == "valid")
			judge(y, test.TCID, set)
		}
	}
	if vectors.NumberOfTests == 0 {
		t.Error("no vectors")
	}
	y.done(vectors.NumberOfTests)
}

func TestWycheproofKeys(t *testing.T) {
	runWycheproof(t, "json_web_key_test.json", reasons{
		"2 acceptsValid": noHMAC,
		"13 long_key":    noHMAC,
		"14 long_key":    noHMAC,
		"15 long_key":    noHMAC,
	}, func(y *tally, id int, set *keySet) {
		// Most of these tests are of keys that must not be used, so that the
		// token is refused is not enough.
		want := map[int]int{
			1: 1, // a set of a symmetric and a public key, which is used for what it is
			5: 1, // the good one
		}[id]
		if len(set.keys) != want {
			y.Errorf("test %d: %d usable keys, want %d", id, len(set.keys), want)
		}
	})
}

// Wycheproof wants two keys of one kid to be refused as ambiguous. It says so of
// symmetric keys only, which are refused here anyway; of public keys all that
// fit are tried, since issuers publish one kid twice (with use sig and enc, or
// on the way from one algorithm to another) and either key is the issuer's own.
func TestTwoKeysOfOneKIDAreBothTried(t *testing.T) {
	own := strings.TrimSuffix(rfc7515A3Key, "}") + `,"kid":"k"}`
	_, other := ecJWK(t, "k", elliptic.P256())
	token := sign(t, ES256, `{"alg":"ES256","kid":"k"}`, "x")
	for _, set := range []string{setText(own, other.String()), setText(other.String(), own)} {
		if _, reason := verifyJWS(token, set); reason != "" {
			t.Errorf("with the keys %s: %q", set, reason)
		}
	}
}

func TestWycheproofCrypto(t *testing.T) {
	runWycheproof(t, "json_web_crypto_test.json", reasons{
		"1 acceptsValid":  noHMAC,
		"48 acceptsValid": noHMAC,
		"50 acceptsValid": noJWE,
		"67 acceptsValid": noJWE,
	}, func(*tally, int, *keySet) {})
}

// identityModel is a case of identity-model's validation.json. Vectors are
// written so that any library can run them: times relative to now, errors by
// canonical codes.
type identityModel struct {
	ID      string
	Vectors []struct {
		Token   identityModelToken
		Options identityModelOptions
		Expect  struct {
			Outcome, Error, Claim string
			Claims                map[string]string
		}
	}
}

type identityModelToken struct {
	Static     string
	SigningKey string `json:"signing_key"`
	Alg        Algorithm
	HeaderKID  string `json:"header_kid"`
	Claims     map[string]any
}

// mint makes the token, or reads it.
func (from identityModelToken) mint(t *testing.T, folder string, now time.Time) string {
	t.Helper()
	if from.Static != "" {
		b, err := os.ReadFile(filepath.Join(folder, from.Static))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(b))
	}
	for _, name := range []string{"exp", "nbf", "iat"} {
		if text, ok := from.Claims[name].(string); ok {
			from.Claims[name] = now.Add(mustDuration(t, text)).Unix()
		}
	}
	private, kid := crypto.Signer(identityModelKey(t, folder)), "test-key-1"
	if from.SigningKey == "ephemeral" {
		private, kid = exampleKey(t, from.Alg), from.HeaderKID
	}
	return signWith(t, private, from.Alg, members{"alg": from.Alg, "kid": kid}.String(), members(from.Claims).String())
}

type identityModelOptions struct {
	Now              time.Time
	ExpectedIssuer   string   `json:"expected_issuer"`
	ExpectedAudience string   `json:"expected_audience"`
	ExpectedNonce    string   `json:"expected_nonce"`
	ClockSkew        string   `json:"clock_skew"`
	RequiredClaims   []string `json:"required_claims"`
}

// issuer configures what the options ask for. Their validator is one of ID
// tokens, without a leeway of its own; it wants iat in every token, which ours
// does where the lifetime is bounded.
func (o identityModelOptions) issuer(t *testing.T) IssuerConfig {
	t.Helper()
	ic := IssuerConfig{Issuer: "https://issuer.example.com", AnyAudience: true, IDTokens: true, Leeway: -1, MaxLifetime: 24 * time.Hour}
	if o.ExpectedIssuer != "" {
		ic.Issuer = o.ExpectedIssuer
	}
	if o.ExpectedAudience != "" {
		ic.AnyAudience, ic.Audiences = false, []string{o.ExpectedAudience}
	}
	if o.ExpectedNonce != "" {
		ic.Require = append(ic.Require, ClaimRule{mustName(t, "nonce"), []Scalar{StringScalar(o.ExpectedNonce)}})
	}
	for _, name := range o.RequiredClaims { // the vectors lack the claim, so its value does not matter
		ic.Require = append(ic.Require, ClaimRule{mustName(t, name), []Scalar{StringScalar("any")}})
	}
	if o.ClockSkew != "" {
		ic.Leeway = mustDuration(t, o.ClockSkew)
	}
	return ic
}

// identityModelReasons are the reasons that we may give for its error codes.
var identityModelReasons = map[string][]Reason{
	"alg_none":         {UnsupportedAlgorithm},
	"signature":        {BadSignature},
	"claim_validation": {Expired, NotYetValid, UnknownIssuer, WrongAudience, InvalidClaim},
}

func TestIdentityModel(t *testing.T) {
	folder := filepath.Join(vectorsFolder(t), "identity-model")
	var file struct{ Tests []identityModel }
	readVectors(t, &file, folder, "validation.json")
	var published json.RawMessage
	readVectors(t, &published, folder, "validation", "jwks.json")

	// JWT-010 has no vector: a key that comes to the set later is fetched. That
	// is TestRotatedKeyIsFoundAtOnce.
	y := newTally(t, reasons{})
	total := 0
	for _, c := range file.Tests {
		for n, vector := range c.Vectors {
			total++
			id := fmt.Sprintf("%s/%d", c.ID, n)
			now := vector.Options.Now
			token := vector.Token.mint(t, folder, now)
			got, err := fixedValidator(t, string(published), now, vector.Options.issuer(t)).Validate(t.Context(), token, Requirement{})
			y.check(id, err == nil, vector.Expect.Outcome == "accept")
			if err == nil {
				for name, want := range vector.Expect.Claims {
					if claim, _ := got.Claims.Top(name); claim.Text() != want {
						t.Errorf("%s: the claim %s is %q, want %q", id, name, claim.Text(), want)
					}
				}
				continue
			}
			var e *Error
			if !errors.As(err, &e) || !slices.Contains(identityModelReasons[vector.Expect.Error], e.Reason) ||
				vector.Expect.Claim != "" && e.Claim != vector.Expect.Claim {
				t.Errorf("%s: %v, want %s %s", id, err, vector.Expect.Error, vector.Expect.Claim)
			}
		}
	}
	if len(file.Tests) != 13 || total != 13 {
		t.Errorf("%d cases with %d vectors, want 13 of each", len(file.Tests), total)
	}
	y.done(13)
}

func mustDuration(t *testing.T, s string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func identityModelKey(t *testing.T, folder string) *rsa.PrivateKey {
	t.Helper()
	der, err := os.ReadFile(filepath.Join(folder, "validation", "signing-key.pkcs1.der"))
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.ParsePKCS1PrivateKey(der)
	if err != nil {
		t.Fatal(err)
	}
	return private
}

// The fixtures beside validation.json that concern a resource server: metadata
// and key sets.
func TestIdentityModelDocuments(t *testing.T) {
	folder := filepath.Join(vectorsFolder(t), "identity-model")
	y := newTally(t, reasons{
		"discovery/missing-multiple-fields": "lacks what clients need; a resource server needs issuer and jwks_uri only",
	})
	from, err := url.Parse("https://provider.example.com/.well-known/openid-configuration")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"valid": true, "issuer-mismatch": false, "missing-jwks-uri": false, "missing-multiple-fields": false} {
		var document json.RawMessage
		readVectors(t, &document, folder, "discovery", name+".json")
		m, err := parseMetadata(document)
		if err == nil {
			_, err = m.keysURL("https://provider.example.com", from, false)
		}
		y.check("discovery/"+name, err == nil, want)
	}
	for name, want := range map[string]bool{"valid": true, "empty": false} {
		var document json.RawMessage
		readVectors(t, &document, folder, "jwks", name+".json")
		set, err := parseKeySet(document)
		y.check("jwks/"+name, err == nil && len(set.skipped) == 0, want)
	}
	y.done(6)
}

// No file of the collections is left out in silence.
func TestEveryFileOfVectorsIsKnown(t *testing.T) {
	known := []string{
		"README.md",
		"cookbook/*/*.json",                 // TestCookbook reads whatever is there
		"wycheproof/json_web_key_test.json", // TestWycheproofKeys
		"wycheproof/json_web_crypto_test.json",
		"identity-model/validation.json", // TestIdentityModel
		"identity-model/validation/alg-none-token.txt",
		"identity-model/validation/jwks.json",
		"identity-model/validation/signing-key.jwk.json", // the same key as the next, in another form
		"identity-model/validation/signing-key.pkcs1.der",
		"identity-model/discovery/*.json", // TestIdentityModelDocuments
		"identity-model/jwks/*.json",
	}
	skips := map[string]string{
		"identity-model/dpop/*":           "proofs of possession are not looked at yet",
		"identity-model/introspection/*":  "tokens are not introspected yet",
		"identity-model/revocation/*":     "for clients: a resource server revokes nothing",
		"identity-model/token/*":          "for clients",
		"identity-model/token-exchange/*": "for clients",
		"identity-model/userinfo/*":       "for clients",
	}
	used := map[string]bool{}
	for _, file := range listVectors(t, vectorsFolder(t)) {
		fits := func(pattern string) bool {
			ok, err := path.Match(pattern, file)
			if err != nil {
				t.Fatal(err)
			}
			used[pattern] = used[pattern] || ok
			return ok
		}
		read := slices.ContainsFunc(known, fits)
		if skipped := slices.ContainsFunc(slices.Collect(maps.Keys(skips)), fits); read == skipped {
			t.Errorf("%s: read %t, skipped for a reason %t", file, read, skipped)
		}
	}
	for _, pattern := range append(slices.Collect(maps.Keys(skips)), known...) {
		if !used[pattern] {
			t.Errorf("no file is %s any more", pattern)
		}
	}
}
