package dpop

import (
	"container/heap"
	"context"
	"errors"
	"sync"
	"time"
)

// Use is the use of a proof.
type Use struct {
	// ID names the proof: a SHA-256 over the thumbprint of its key and its jti.
	ID [32]byte
	// IssuedAt is when the proof says it was made; zero if the time of its maker
	// cannot be trusted, and a nonce says that it is new.
	IssuedAt time.Time
	// Now is the verifier's time.
	Now time.Time
	// Until is when the proof ends to be good by itself. It need not be remembered
	// longer.
	Until time.Time
}

// ReplayStore remembers the proofs that were used. [Memory] is one for a single
// process.
type ReplayStore interface {
	// Remember returns nil if this is the first use of the proof, and ErrReplayed
	// if it is not, whoever else asks at the same time. Any other error means that
	// nobody knows: the proof is refused then. It may wait, until ctx ends.
	Remember(ctx context.Context, use Use) error
}

// What a [ReplayStore] says of a proof.
var (
	ErrReplayed = errors.New("dpop: the proof was used before")
	ErrFull     = errors.New("dpop: no more proofs can be remembered")
)

// Memory is a [ReplayStore] in the memory of this process. It holds each proof
// until it ends to be good, and when it is full it refuses all proofs that are
// new: it forgets none to make room. Only proofs with good signatures, for good
// tokens, get in, but one client can make them all. It takes about 100 bytes a
// proof, as they come. It is safe for concurrent use, and starts nothing.
//
// After a restart it cannot know what was used before. So it refuses proofs that
// were made before it was, as if they had been used.
type Memory struct {
	since  time.Time
	shards [memoryShards]memoryShard
}

const (
	memoryShards = 64
	// DefaultCapacity is the number of proofs that a Verifier remembers if it was
	// given no store: more than ten thousand new ones a second.
	DefaultCapacity = 1 << 20
)

type memoryShard struct {
	capacity int

	mu        sync.Mutex            // guards all below
	used      map[[16]byte]struct{} // the proofs
	expiry    expiries              // the same, by their end
	forgotten int64                 // the latest end of a proof that was let go
}

// NewMemory makes a store for about capacity proofs, at the time now, which is
// the verifier's. Zero or less means [DefaultCapacity].
func NewMemory(capacity int, now time.Time) *Memory {
	if capacity <= 0 {
		capacity = DefaultCapacity
	}
	m := &Memory{since: now.Truncate(time.Second)} // iat has no smaller unit
	for i := range m.shards {
		m.shards[i].capacity = max(1, capacity/memoryShards)
		m.shards[i].used = map[[16]byte]struct{}{}
	}
	return m
}

// Remember implements [ReplayStore]. It does not wait.
func (m *Memory) Remember(_ context.Context, use Use) error {
	if !use.IssuedAt.IsZero() && use.IssuedAt.Before(m.since) {
		return ErrReplayed
	}
	s := &m.shards[use.ID[31]%memoryShards]
	// Half of the hash is enough: a client that finds two proofs with one ID has
	// its second refused, and no one else's.
	id := [16]byte(use.ID[:16])

	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.expiry) > 0 && s.expiry[0].until <= use.Now.UnixNano() {
		ended := heap.Pop(&s.expiry).(expiry) //nolint:errcheck,forcetypeassert // only Remember pushes
		delete(s.used, ended.id)
		s.forgotten = max(s.forgotten, ended.until)
	}
	_, used := s.used[id]
	// A clock that was set back makes proofs good again that are forgotten.
	if used || use.Until.UnixNano() <= s.forgotten {
		return ErrReplayed
	}
	if len(s.expiry) >= s.capacity {
		return ErrFull
	}
	s.used[id] = struct{}{}
	heap.Push(&s.expiry, expiry{id, use.Until.UnixNano()})
	return nil
}

// Len returns the number of proofs that are held, those that have ended but were
// not yet in the way included.
func (m *Memory) Len() int {
	n := 0
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		n += len(s.expiry)
		s.mu.Unlock()
	}
	return n
}

type expiry struct {
	id    [16]byte
	until int64 // in nanoseconds since 1970
}

// expiries is a heap of proofs, the next to end first.
type expiries []expiry

func (h expiries) Len() int           { return len(h) }
func (h expiries) Less(i, j int) bool { return h[i].until < h[j].until }
func (h expiries) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *expiries) Push(x any) { *h = append(*h, x.(expiry)) } //nolint:errcheck,forcetypeassert // only Remember pushes

// Pop implements heap.Interface.
func (h *expiries) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
