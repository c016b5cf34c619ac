// Package inspect reads a token for the person who holds it: what it says, what is
// wrong with its form and how that probably came about, and what a configuration's
// issuers make of it.
//
// [Read] is pure and knows no keys: nothing that it returns is verified. It is
// lenient where the gate is strict, so that a token which the gate refuses can still
// be looked at. [Judge] has the gate's own validator look at the token, and goes on
// after a refusal, so that each check has a verdict.
//
// The token itself is in no result: neither whole nor its signature.
package inspect

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/claimgate/claimgate/oidc"
)

// Kind is what a text turned out to be.
type Kind string

// The kinds. Malformed was meant to be a JWT, as far as one can tell; Opaque is
// anything else that may be a token.
const (
	Signed    Kind = "signed"    // a JWT in the compact form of a JWS (RFC 7515 section 3.1)
	Encrypted Kind = "encrypted" // the compact form of a JWE (RFC 7516 section 3.1)
	Opaque    Kind = "opaque"
	Malformed Kind = "malformed"
)

// Reading is a token as it reads without a key.
type Reading struct {
	Kind  Kind
	Usage string   // what the token is made for, in words
	Size  int      // in bytes, without what is no part of it
	Notes []string // what was around the token, and what is odd about it
	Fault *Fault   // why it is malformed; nil otherwise

	// Header and Claims are JSON texts as the token has them: members in their
	// order, twice if they are there twice, numbers with all digits. What could
	// steer a terminal is escaped. Nil if they could not be read.
	Header, Claims json.RawMessage
	Times          Times

	// Token is the token without what was around it, to be judged. It is a secret.
	Token string `json:"-"`
}

// Fault says where a token is broken.
type Fault struct {
	Segment  string // header, claims, signature; "" for the whole
	Position int    // byte of the token, from 1; 0 if it is not one place
	What     string
	Likely   string // what a person probably did and can do now; "" if there is no telling
}

// String says it in one line.
func (f *Fault) String() string {
	s := f.What
	switch {
	case f.Segment != "" && f.Position > 0:
		s = fmt.Sprintf("%s, byte %d of the token: %s", f.Segment, f.Position, s)
	case f.Segment != "":
		s = f.Segment + ": " + s
	case f.Position > 0:
		s = fmt.Sprintf("byte %d: %s", f.Position, s)
	}
	return s
}

// Read reads what a person gave for a token.
func Read(text string) Reading {
	var r Reading
	r.Token, r.Notes = unwrap(text)
	r.Size = len(r.Token)
	if fault := foreign(r.Token); fault != nil {
		r.Kind, r.Fault = Malformed, fault
		return r
	}
	segments := strings.Split(r.Token, ".")
	if !looksLikeJOSE(segments[0]) {
		r.readForeign(segments)
		return r
	}
	if len(segments) == 5 && r.readEncrypted(segments) {
		return r
	}
	r.readSigned(segments)
	return r
}

// looksLikeJOSE reports whether a first segment may be a JOSE header: base64 of
// something that begins as a JSON object.
func looksLikeJOSE(segment string) bool {
	return strings.HasPrefix(segment, "eyJ") || strings.HasPrefix(segment, "ew") || strings.HasPrefix(segment, "e30")
}

// readForeign judges what does not begin as a JWT does.
func (r *Reading) readForeign(segments []string) {
	for i := range len(r.Token) {
		if c := r.Token[i]; c <= ' ' || c >= 0x7f {
			r.Kind = Malformed
			r.Fault = &Fault{Position: i + 1, What: describe(r.Token[i:]) + " is in no token", Likely: likelyForeignByte(r.Token[i:])}
			return
		}
	}
	if strings.HasPrefix(r.Token, "yJ") && len(segments) == 3 {
		r.Kind = Malformed
		r.Fault = &Fault{Segment: header, Position: 1, What: "it begins in the middle of a base64 group", Likely: "the first letter was not copied: a JWT begins with ey"}
		return
	}
	if len(segments) == 3 || len(segments) == 5 {
		r.Kind = Malformed
		_, fault := decode(header, segments[0], 0)
		if fault == nil {
			fault = &Fault{Segment: header, Position: 1, What: "it is not a JSON object in base64url", Likely: "either this is no JWT, or its beginning was not copied: a JWT begins with ey"}
		}
		r.Fault = fault
		return
	}
	r.Kind = Opaque
	r.Usage = "an opaque token, if it is one: it says nothing by itself, and only its issuer can tell what it is worth (RFC 7662)"
}

const (
	header    = "header"
	claims    = "claims"
	signature = "signature"
)

func (r *Reading) readSigned(segments []string) {
	r.Kind = Signed
	fail := func(f *Fault) {
		if f != nil && r.Fault == nil {
			r.Kind, r.Fault = Malformed, f
		}
	}
	if at := strings.Index(r.Token, ".."); at >= 0 && len(segments) > 3 {
		fail(&Fault{Position: at + 1, What: "dots in place of a part", Likely: "something has shortened it for display: get the whole token"})
	}
	// Everything that can be read is read, whatever is wrong with the rest.
	var fault *Fault
	r.Header, fault = decodeObject(header, segments[0], 0)
	fail(fault)
	if len(segments) < 2 {
		fail(&Fault{What: "one segment, where a JWT has three", Likely: "only the header was copied: copy up to the end, both dots included"})
		return
	}
	offset := len(segments[0]) + 1
	r.Claims, fault = decodeObject(claims, segments[1], offset)
	if fault != nil && len(segments) == 2 {
		fault.Likely = "the end is missing: a token that was cut off when it was copied, shown or logged"
	}
	fail(fault)
	if len(segments) == 2 {
		fail(&Fault{What: "two segments, where a JWT has three: there is no signature", Likely: likelyNoSignature})
	}
	if len(segments) > 3 {
		fail(&Fault{Position: offset + len(segments[1]) + len(segments[2]) + 2, What: fmt.Sprintf("%d segments, where a signed JWT has three and an encrypted one five", len(segments)), Likely: "two tokens, or a token and the end of a sentence"})
	}
	h, c := members(r.Header), members(r.Claims)
	if len(segments) == 3 {
		fail(checkSignature(segments[2], offset+len(segments[1])+1, text(h, "alg")))
	}
	r.Times, fault = readTimes(c)
	if fault != nil {
		r.Notes = append(r.Notes, fault.String()+": "+fault.Likely)
	}
	if c != nil {
		r.Usage = usage(h, c)
	}
	if r.Kind == Signed {
		r.Notes = append(r.Notes, strict(r.Token, text(h, "alg"))...)
	}
}

// readEncrypted reports whether the token has the header of a JWE.
func (r *Reading) readEncrypted(segments []string) bool {
	object, fault := decodeObject(header, segments[0], 0)
	h := members(object)
	if _, encrypted := h["enc"]; fault != nil || !encrypted {
		return false
	}
	r.Kind, r.Header = Encrypted, object
	r.Usage = fmt.Sprintf("encrypted (JWE, alg %q, enc %q): only who has its key can read the claims, and the gate takes no such token", text(h, "alg"), text(h, "enc"))
	return true
}

// likelyNoSignature is for two segments that read well.
const likelyNoSignature = "the signature was not copied: it is the part after the second dot"

// checkSignature looks at a signature's form. Only the end of a token shows that it
// was cut off.
func checkSignature(segment string, offset int, alg string) *Fault {
	if segment == "" {
		if alg == "none" {
			return &Fault{Segment: signature, What: "it is empty, and alg is none", Likely: "an unsigned token: no gate takes it, since anybody can write one"}
		}
		return &Fault{Segment: signature, What: "it is empty", Likely: likelyNoSignature}
	}
	bytes, fault := decode(signature, segment, offset)
	if fault != nil {
		if fault.Likely == "" {
			fault.Likely = "the end of the token was not copied"
		}
		return fault
	}
	if want, ok := signatureSizes[alg]; ok && len(bytes) != want {
		f := &Fault{Segment: signature, What: fmt.Sprintf("it has %d bytes, and %s signatures have %d", len(bytes), alg, want)}
		if len(bytes) < want {
			f.Likely = "the end of the token was not copied"
		}
		return f
	}
	if (strings.HasPrefix(alg, "RS") || strings.HasPrefix(alg, "PS")) && len(bytes) < minRSASignature {
		return &Fault{Segment: signature, What: fmt.Sprintf("it has %d bytes, and %s signatures have %d at least", len(bytes), alg, minRSASignature), Likely: "the end of the token was not copied"}
	}
	return nil
}

// signatureSizes are those of RFC 7518 section 3.4 and RFC 8037 section 3.1.
var signatureSizes = map[string]int{"ES256": 64, "ES384": 96, "ES512": 132, "EdDSA": 64, "Ed25519": 64}

// minRSASignature is that of a key of 2048 bits, the smallest that is accepted.
const minRSASignature = 256

// decodeObject decodes a segment that holds a JSON object, ready to be printed.
func decodeObject(name, segment string, offset int) (json.RawMessage, *Fault) {
	if segment == "" {
		return nil, &Fault{Segment: name, Position: offset + 1, What: "it is empty"}
	}
	raw, fault := decode(name, segment, offset)
	if fault != nil {
		return nil, fault
	}
	var syntax *json.SyntaxError
	var whole json.RawMessage
	if err := json.Unmarshal(raw, &whole); errors.As(err, &syntax) {
		f := &Fault{Segment: name, What: fmt.Sprintf("once decoded, it is no JSON: at byte %d of %d: %s", syntax.Offset, len(raw), printable(syntax.Error()))}
		if int(syntax.Offset) >= len(raw) {
			f.Likely = "a part of the token was not copied"
		}
		return nil, f
	} else if err != nil {
		return nil, &Fault{Segment: name, What: "once decoded, it is no JSON: " + printable(err.Error())}
	}
	if trimmed := strings.TrimLeft(string(raw), " \t\r\n"); !strings.HasPrefix(trimmed, "{") {
		return nil, &Fault{Segment: name, What: "once decoded, it is JSON, but no object"}
	}
	return EscapeJSON(raw), nil
}

// decode decodes base64url and says where that fails. Each mistake of people has its
// own look.
func decode(name, segment string, offset int) ([]byte, *Fault) {
	for i := range len(segment) {
		c := segment[i]
		if c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			continue
		}
		f := &Fault{Segment: name, Position: offset + i + 1, What: describe(segment[i:]) + " is not base64url"}
		switch {
		case c == '+' || c == '/':
			f.Likely = "this is plain base64: JWTs are written with - and _ in place of + and /"
		case c == '=':
			f.Likely = "JWTs have no padding: something has encoded it again"
		case c == '%':
			f.Likely = "this is percent-encoded, as in a URL: decode it first"
		case c == '~':
			f.Likely = "an SD-JWT with its disclosures, which is no access token"
		default:
			f.Likely = likelyForeignByte(segment[i:])
		}
		return nil, f
	}
	raw, err := base64.RawURLEncoding.DecodeString(segment)
	if err != nil {
		return nil, &Fault{Segment: name, Position: offset + len(segment), What: fmt.Sprintf("%d letters cannot be base64url: one is missing or one too many", len(segment))}
	}
	if _, err := base64.RawURLEncoding.Strict().DecodeString(segment); err != nil {
		return nil, &Fault{Segment: name, Position: offset + len(segment), What: "the last letter has bits that mean nothing, so one token would have several texts", Likely: "the last letter was changed, or the end of the token was not copied"}
	}
	return raw, nil
}

// describe names the character that s begins with.
func describe(s string) string {
	c, _ := utf8.DecodeRuneInString(s)
	switch c {
	case ' ':
		return "a space"
	case '\n', '\r':
		return "a line break"
	case '\t':
		return "a tab"
	case utf8.RuneError:
		return fmt.Sprintf("the byte 0x%02x", s[0])
	}
	if c < ' ' || c >= 0x7f {
		return fmt.Sprintf("the character U+%04X", c)
	}
	return fmt.Sprintf("%q", c)
}

func likelyForeignByte(s string) string {
	c, _ := utf8.DecodeRuneInString(s)
	switch {
	case c == '…':
		return "something has shortened it for display: get the whole token"
	case c == utf8.RuneError:
		return "a binary file, or text in another encoding than UTF-8"
	case c >= 0x7f:
		return "it came with the text that the token was copied from: copy it from its source"
	case strings.ContainsRune(" \t\r\n", c):
		return "there is more than a token: give it alone"
	case c == '*':
		return "something has masked it for display: get the whole token"
	}
	return ""
}

// members are those of a JSON object, by name; of two with one name the last one.
func members(object json.RawMessage) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	if json.Unmarshal(object, &m) != nil {
		return nil
	}
	return m
}

// text is a member that is a string, "" if it is not.
func text(m map[string]json.RawMessage, name string) string {
	var s string
	if json.Unmarshal(m[name], &s) != nil {
		return ""
	}
	return s
}

// texts is a JSON list of texts, nil if it is anything else.
func texts(raw json.RawMessage) []string {
	var list []string
	if json.Unmarshal(raw, &list) != nil {
		return nil
	}
	return list
}

// usage says what a JWT is made for, by the marks that specifications give such
// tokens.
func usage(h, c map[string]json.RawMessage) string {
	typ := strings.TrimPrefix(strings.ToLower(text(h, "typ")), "application/")
	has := func(names ...string) (found []string) {
		for _, n := range names {
			if _, ok := c[n]; ok {
				found = append(found, n)
			}
		}
		return found
	}
	kind := strings.ToLower(text(c, "typ"))
	switch {
	case typ == "dpop+jwt":
		return "a DPoP proof (RFC 9449), which goes with a token and is none"
	case typ == "logout+jwt" || kind == "logout":
		return "a logout token (OpenID Connect Back-Channel Logout), no access token"
	case typ == "secevent+jwt" || len(has("events")) > 0:
		return "a security event (RFC 8417), no access token"
	case kind == "refresh" || kind == "offline":
		return "a refresh token: it belongs to the token endpoint and nowhere else"
	case text(c, "token_use") == "id" || kind == "id":
		return "an ID token by its own word: it is for the client, not for an API"
	case typ == "at+jwt":
		return "an access token (RFC 9068)"
	}
	if marks := has("nonce", "at_hash", "c_hash"); len(marks) > 0 {
		return fmt.Sprintf("probably an ID token, since it has %s: that is for the client, not for an API", strings.Join(marks, " and "))
	}
	if text(c, "token_use") == "access" || kind == "bearer" {
		return "an access token, by its own word"
	}
	return "a JWT without a mark of what it is for; many access tokens have none"
}

// strict has the gate's own parser look at a token that reads well, and returns what
// it does not take. No key is looked for: the only issuer has an identifier that no
// token can have.
func strict(token, alg string) []string {
	v, err := oidc.NewValidator(oidc.Config{Issuers: []oidc.IssuerConfig{{
		Issuer: "claimgate:no-token-is-from-here", Name: "none", JWKSURL: "https://none.invalid/", AnyAudience: true,
	}}})
	if err != nil {
		return nil
	}
	v.Close() // from here on nothing can be fetched
	_, err = v.Validate(context.Background(), token, oidc.Requirement{})
	var refusal *oidc.Error
	if !errors.As(err, &refusal) || slices.Contains([]oidc.Reason{oidc.UnknownIssuer, oidc.KeysUnavailable}, refusal.Reason) {
		return nil
	}
	note := "the gate refuses it whatever its signature is worth: " + printable(strings.TrimPrefix(refusal.Error(), "oidc: "))
	if refusal.Reason == oidc.UnsupportedAlgorithm {
		note += fmt.Sprintf(": %q is not verified with public keys, or unknown; there are %v", alg, oidc.Algorithms())
	}
	return []string{note}
}
