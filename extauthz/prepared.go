package extauthz

import (
	"sync/atomic"

	"github.com/claimgate/claimgate/oidc"
)

// preparedAllow is what an allow under one policy with one token is made of,
// whatever the request. It stays with a cached token for the next one. What the
// request alone decides (headers that are named like an identity header, a
// credential that does not go on) comes on top each time, and so does every rule:
// nothing here says that the next request is allowed.
type preparedAllow struct {
	policy *policy
	set    []Header
	remove []string

	asked  atomic.Bool            // for an answer, before
	answer atomic.Pointer[[]byte] // the whole answer as bytes, once it was written twice
	count  keptCounter            // of such allows
}

// maxPreparedAnswer bounds what is kept with a token, of which thousands can be at
// hand. Most answers have half a kilobyte.
const maxPreparedAnswer = 2 << 10

// prepare returns what an allow with t is made of, nil if the identity is too large
// to go upstream. t is nil for an allow without a token.
func (p *policy) prepare(t *oidc.Token, credential string) *preparedAllow {
	if t == nil {
		return p.bare
	}
	if kept, ok := t.Kept().(*preparedAllow); ok && kept.policy == p {
		return kept
	}
	set, remove, ok := p.identity.fixed(t, p.name, credential)
	if !ok {
		return nil
	}
	prepared := &preparedAllow{policy: p, set: set, remove: remove}
	if !p.identity.raw && identitySize(set) <= maxPreparedAnswer { // the token itself is kept nowhere
		t.Keep(prepared)
	}
	return prepared
}

// prepareBare makes the allow without a token.
func (p *policy) prepareBare() *preparedAllow {
	set, remove, ok := p.identity.fixed(nil, p.name, "")
	if !ok { // a policy's name is short
		return nil
	}
	return &preparedAllow{policy: p, set: set, remove: remove}
}

func identitySize(set []Header) (size int) {
	for i := range set {
		size += len(set[i].Name) + len(set[i].Value)
	}
	return size
}

// encodePrepared is encodeAnswer, from memory if it is there. The answer is shared:
// nobody may change it. A policy belongs to one configuration, and so to one list of
// claims for the metadata.
func encodePrepared(d Decision, metadataClaims []oidc.ClaimName) []byte {
	p := d.prepared
	if p == nil || d.reason != oidc.ValidToken || d.policy != p.policy.name {
		return encodeAnswer(d, metadataClaims)
	}
	if kept := p.answer.Load(); kept != nil {
		return *kept
	}
	answer := encodeAnswer(d, metadataClaims)
	// Many tokens are seen once in a while, and are no longer at hand then.
	if p.asked.Swap(true) && !p.policy.identity.raw && len(answer) <= maxPreparedAnswer {
		kept := append(make([]byte, 0, len(answer)), answer...) // without the room that was not needed
		p.answer.Store(&kept)
	}
	return answer
}
