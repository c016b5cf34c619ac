package oidc

import (
	"strings"
	"sync"

	"github.com/go-jose/go-jose/v4"
	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Limits of the headers that are remembered. A provider has as many as it has
// keys, as a rule.
const (
	maxJoseHeaders    = 1024
	maxJoseHeaderSize = 512 // as it stands in the token
)

// joseHeaders remembers how go-jose has read the headers of tokens that were
// verified. To read a header takes it longer than all of our own parsing, and the
// tokens of one key have the same one, byte for byte. Junk cannot get in: a header
// is remembered once a signature over it was good.
type joseHeaders struct {
	mu  sync.Mutex
	lru *simplelru.LRU[string, jose.Signature] // by the header's text in the token; guarded by mu
}

func newJoseHeaders() *joseHeaders {
	h := &joseHeaders{}
	// The error is for sizes that are not positive.
	h.lru, _ = simplelru.NewLRU[string, jose.Signature](maxJoseHeaders, nil)
	return h
}

// signed is newSigned, from memory if the header is there.
func (h *joseHeaders) signed(token string, c *compact) (s signed, known, ok bool) {
	h.mu.Lock()
	head, known := h.lru.Get(c.rawHeader(token))
	h.mu.Unlock()
	if !known {
		s, ok = newSigned(token, c)
		return s, false, ok
	}
	head.Signature = c.signature
	return signed{compact: c, jws: jose.JSONWebSignature{Signatures: []jose.Signature{head}}, payload: c.payload}, true, true
}

// remember keeps the header of a token that was verified.
func (h *joseHeaders) remember(token string, s signed) {
	raw := s.compact.rawHeader(token)
	if len(raw) > maxJoseHeaderSize {
		return
	}
	head := s.jws.Signatures[0]
	head.Signature = nil
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lru.Add(strings.Clone(raw), head) // a part would keep the whole token
}
