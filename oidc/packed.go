package oidc

import (
	"encoding/binary"
	"time"
	"unsafe"
)

// packedToken is a Token in one piece of memory without a pointer in it, in which a
// hundred thousand of them neither take much nor keep the garbage collector busy.
// It is, numbers in little endian:
//
//	flags, 1 byte
//	iat, 8 bytes
//	length of the claims, and how many scopes, roles and audiences: 2 bytes each
//	Issuer, Subject, ClientID, Tenant, ID, Type, and each element of the lists:
//	where it begins in the text and how long it is, 2 bytes each
//	the text: the claims, and behind them what is not a part of these
//
// What all tokens of an issuer share is not in it, and neither is exp, which stands
// beside it.
type packedToken string

const (
	packedBound  = 1 << iota // Token.bound
	packedIssued             // there is an iat
	packedTenant             // Issuer is not the issuer's own identifier
)

const (
	packedLists = 1 + 8 + 2         // where the lengths of the lists are
	packedParts = packedLists + 3*2 // where the first part is
	packedTexts = 6                 // parts that are no elements
)

// texts are the parts of a token that are packed, but for the lists.
func (t *Token) texts() [packedTexts]*string {
	return [...]*string{&t.Issuer, &t.Subject, &t.ClientID, &t.Tenant, &t.ID, &t.Type}
}

// pack returns false for a token that is too large to be packed, which is one with
// more text than a request can have.
func (t *Token) pack(of *issuer) (packedToken, bool) {
	p := packing{claims: t.Claims.object.raw}
	var flags byte
	if t.bound {
		flags |= packedBound
	}
	var iat int64
	if !t.IssuedAt.IsZero() {
		flags |= packedIssued
		iat = t.IssuedAt.Unix()
	}
	own := *t
	if t.Issuer == of.id {
		own.Issuer = ""
	} else {
		flags |= packedTenant
	}
	lists := [...][]string{t.Scopes, t.Roles, t.Audience}
	n := packedTexts + len(t.Scopes) + len(t.Roles) + len(t.Audience)
	p.out = make([]byte, 0, packedParts+4*n+len(p.claims)+64)
	p.out = append(p.out, flags)
	p.out = binary.LittleEndian.AppendUint64(p.out, uint64(iat)) //nolint:gosec // and back
	p.number(len(p.claims))
	for _, list := range lists {
		p.number(len(list))
	}
	for _, text := range own.texts() {
		p.part(*text)
	}
	for _, list := range lists {
		for _, text := range list {
			p.part(text)
		}
	}
	p.out = append(p.out, p.claims...)
	p.out = append(p.out, p.more...)
	return packedToken(p.out), !p.tooLarge
}

type packing struct {
	claims   string
	out      []byte
	more     []byte // the text behind the claims
	tooLarge bool
}

func (p *packing) number(n int) {
	p.tooLarge = p.tooLarge || n > 1<<16-1
	p.out = binary.LittleEndian.AppendUint16(p.out, uint16(n)) //nolint:gosec // see tooLarge
}

// part writes where a text is: in the claims if it is a part of them, and if not
// it is written behind.
func (p *packing) part(s string) {
	from := len(p.claims) + len(p.more)
	if at, ok := within(p.claims, s); ok {
		from = at
	} else {
		p.more = append(p.more, s...)
	}
	p.number(from)
	p.number(len(s))
}

// within returns where in text s is, if it shares its memory. That s is a part of
// text by its letters would do as well, and take longer to find out.
func within(text, s string) (at int, ok bool) {
	if s == "" {
		return 0, true
	}
	from := uintptr(unsafe.Pointer(unsafe.StringData(text))) //nolint:gosec // compared only
	here := uintptr(unsafe.Pointer(unsafe.StringData(s)))    //nolint:gosec // compared only
	if here < from || here+uintptr(len(s)) > from+uintptr(len(text)) {
		return 0, false
	}
	return int(here - from), true //nolint:gosec // less than a length
}

func (p packedToken) number(at int) int { return int(p[at]) | int(p[at+1])<<8 }

// elements returns how many elements the token's lists have.
func (p packedToken) elements() int {
	return p.number(packedLists) + p.number(packedLists+2) + p.number(packedLists+4)
}

// unpack makes the token again, of texts that are parts of p.
func (p packedToken) unpack(of *issuer, expiry int64) *Token {
	scopes, roles, audiences := p.number(packedLists), p.number(packedLists+2), p.number(packedLists+4)
	n := packedTexts + p.elements()
	text := string(p[packedParts+4*n:])
	at := packedParts
	part := func() string {
		from := p.number(at)
		s := text[from : from+p.number(at+2)]
		at += 4
		return s
	}
	cached := &cachedToken{}
	t := &cached.token
	t.IssuerName, t.memo = of.name, &cached.memo
	t.Expiry = time.Unix(expiry, 0)
	t.Claims = Claims{object: Value{text[:p.number(packedLists-2)]}}
	for _, s := range t.texts() {
		*s = part()
	}
	flags := p[0]
	if flags&packedTenant == 0 {
		t.Issuer = of.id
	}
	if flags&packedIssued != 0 {
		var iat uint64
		for i := range 8 {
			iat |= uint64(p[1+i]) << (8 * i)
		}
		t.IssuedAt = time.Unix(int64(iat), 0) //nolint:gosec // and back
	}
	t.bound = flags&packedBound != 0
	elements := make([]string, n-packedTexts)
	for i := range elements {
		elements[i] = part()
	}
	cut := func(n int) []string { // nil for none, as in a token that was just verified
		if n == 0 {
			return nil
		}
		list := elements[:n:n]
		elements = elements[n:]
		return list
	}
	t.Scopes, t.Roles, t.Audience = cut(scopes), cut(roles), cut(audiences)
	return t
}

// cachedToken is a Token in the cache, with room for what its users make of it.
type cachedToken struct {
	token Token
	memo  tokenMemo
}
