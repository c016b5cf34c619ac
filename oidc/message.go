package oidc

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Recipient is the client (or, for introspection, the resource server) that a
// message of an issuer must be for, and what it has agreed with the issuer about
// messages. The zero Recipient refuses every message.
type Recipient struct {
	// Issuer is the Issuer of one of the validator's IssuerConfigs: whose message
	// it must be. Required. With tenants it may be one tenant's identifier too.
	Issuer string
	// ClientID must be in aud. Required.
	ClientID string
	// TrustedAudiences may be in aud beside ClientID. A message that is for anybody
	// else too is refused (OpenID Connect Core section 3.1.3.7, step 3).
	TrustedAudiences []string
	// Algorithms are the signature algorithms that were registered for this kind of
	// message, such as id_token_signed_response_alg; nil means the issuer's.
	Algorithms []Algorithm
	// Decrypter opens encrypted messages; nil refuses them. One that is only signed
	// is accepted all the same: encryption says nothing about who wrote it.
	Decrypter *Decrypter
}

// messageKind is what tells one kind of message from the others that an issuer
// signs with the same keys (RFC 8725 sections 3.11 and 3.12).
type messageKind struct {
	types    []string // the accepted values of typ, as canonicalType writes them
	marks    []string // claims that no message of this kind has
	lasting  bool     // exp may be absent: nobody looks at the expiry
	required []string // claims that must be there
	texts    []string // claims that are strings that say something, if they are there
}

// message is a JWT of an issuer to a client. It is verified once readMessage
// returns it; before, check looks at it.
type message struct {
	alg      Algorithm
	from     sender
	claims   Claims // indexed
	audience []string
	expiry   time.Time // if exp is there
	issuedAt time.Time // if iat is there
	now      time.Time
}

// text returns a claim that the kind has among its texts, "" if it is absent.
func (m *message) text(name string) string {
	v, _ := m.claims.Top(name)
	return v.Text()
}

// readMessage verifies a message of an issuer: the steps and their order are
// those of an access token, so that what can be refused without a key is. check
// is what is particular about the kind; nil for nothing.
func (v *Validator) readMessage(ctx context.Context, raw string, to Recipient, kind messageKind, check func(*message) *Error) (*message, *Error) {
	if v.clock == nil { // the zero Validator
		return nil, &Error{Reason: UnknownIssuer, Err: errors.New("no issuers are configured")}
	}
	if to.Issuer == "" || to.ClientID == "" {
		return nil, &Error{Reason: Internal, Err: errors.New("the caller does not say whose message it must be, or for whom: Recipient lacks Issuer or ClientID")}
	}
	raw, err := v.decrypted(ctx, raw, to.Decrypter)
	if err != nil {
		return nil, err
	}
	c, err := parseCompact(raw, newJSONRoom(), nil)
	if err != nil {
		return nil, err
	}
	from, err := v.issuerOf(c.claims)
	if err != nil {
		return nil, err
	}
	m := &message{alg: c.header.alg, from: from, claims: c.claims, now: v.clock()}
	err = m.read(c, to, kind)
	if err == nil && check != nil {
		err = check(m)
	}
	if err == nil {
		err = from.verifyMessage(ctx, c)
	}
	if err != nil {
		err.IssuerName = from.name
		return nil, err
	}
	return m, nil
}

// read takes the steps that all kinds share, up to the key.
func (m *message) read(c compact, to Recipient, kind messageKind) *Error {
	if _, ok := m.claims.Top("iss"); !ok { // a JWT-SVID, which is no message
		return &Error{Reason: UnknownIssuer, Claim: "iss", Err: errors.New("missing")}
	}
	if m.from.id != to.Issuer && m.from.issuer.id != to.Issuer {
		return &Error{Reason: IssuerNotAccepted, Claim: "iss", Err: errors.New("of another issuer than the one that was asked")}
	}
	if to.Algorithms != nil && !slices.Contains(to.Algorithms, m.alg) || m.from.algorithms&m.alg.bit() == 0 {
		return &Error{Reason: UnsupportedAlgorithm, Claim: "alg", Err: errors.New("not among the algorithms agreed for such a message")}
	}
	if err := kind.check(c); err != nil {
		return err
	}
	times, err := readTimes(m.claims, kind.lasting)
	if err != nil {
		return err
	}
	if err := times.check(m.now, m.from.leeway, 0); err != nil {
		return err
	}
	m.expiry, m.issuedAt = time.Unix(times.exp, 0), time.Unix(times.issued, 0)
	if m.from.templates != nil {
		if err := m.from.checkTenant(m.claims); err != nil {
			return err
		}
	}
	return m.readAudience(to)
}

// check looks at the type and at the claims that must or must not be there.
func (k messageKind) check(c compact) *Error {
	refuse := func(claim, why string) *Error {
		return &Error{Reason: WrongTokenType, Claim: claim, Err: errors.New(why)}
	}
	typ := tokenTypeNone
	if c.header.hasTyp {
		typ = canonicalType(c.header.typ)
	}
	if !slices.Contains(k.types, typ) || c.header.hasTyp && typ == tokenTypeNone {
		return refuse("typ", "not the type of such a message")
	}
	for _, mark := range k.marks {
		if _, ok := c.claims.Top(mark); ok {
			return refuse(mark, "the mark of a message of another kind")
		}
	}
	for _, name := range k.required {
		if _, ok := c.claims.Top(name); !ok {
			return invalidClaim(name, "missing")
		}
	}
	for _, name := range k.texts {
		if v, ok := c.claims.Top(name); ok && (v.Kind() != KindString || v.Text() == "") {
			return invalidClaim(name, "not a string, or empty")
		}
	}
	return nil
}

func (m *message) readAudience(to Recipient) *Error {
	aud, ok := m.claims.Top("aud")
	if !ok {
		return &Error{Reason: WrongAudience, Claim: "aud", Err: errors.New("missing: the message says nowhere whom it is for")}
	}
	if m.audience, ok = stringOrStrings(aud); !ok {
		return invalidClaim("aud", "neither a string nor a list of strings")
	}
	if !slices.Contains(m.audience, to.ClientID) {
		return &Error{Reason: WrongAudience, Claim: "aud", Err: errors.New("the client is not in it")}
	}
	for _, a := range m.audience {
		if a != to.ClientID && !slices.Contains(to.TrustedAudiences, a) {
			return &Error{Reason: WrongAudience, Claim: "aud", Err: errors.New("for somebody else too, who is not among the trusted audiences")}
		}
	}
	return nil
}

// verifyMessage compares the signature with the sender's keys.
func (from sender) verifyMessage(ctx context.Context, c compact) *Error {
	if _, _, reason, cause := from.verify(ctx, from.keyHint(c), c.verifiedBy, nil); reason != "" {
		return &Error{Reason: reason, Err: cause}
	}
	return nil
}
