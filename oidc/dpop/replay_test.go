package dpop_test

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/claimgate/claimgate/oidc/dpop"
)

func use(id uint64, now, until int64) dpop.Use {
	u := dpop.Use{Now: time.Unix(now, 0), IssuedAt: time.Unix(until-60, 0), Until: time.Unix(until, 0)}
	binary.BigEndian.PutUint64(u.ID[:], id)
	binary.BigEndian.PutUint64(u.ID[24:], id)
	return u
}

// However proofs come and the clock jumps, none is good twice while it is good
// by itself, and the store holds no more than it may.
func TestMemoryTakesAProofOnceAndNoMoreThanItMay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const capacity = 2 * 64
		m := dpop.NewMemory(capacity, time.Unix(0, 0))
		used := map[uint64]bool{}
		now := int64(1000)
		ends := map[uint64]int64{}
		for range rapid.IntRange(1, 300).Draw(t, "uses") {
			now += rapid.Int64Range(-20, 30).Draw(t, "step")
			id := rapid.Uint64Range(0, 40).Draw(t, "id") * 64 // all in one shard
			if _, known := ends[id]; !known {
				ends[id] = now + rapid.Int64Range(1, 70).Draw(t, "life")
			}
			if now >= ends[id] { // the verifier would not ask
				continue
			}
			err := m.Remember(t.Context(), use(id, now, ends[id]))
			switch {
			case err == nil && used[id]:
				t.Fatalf("proof %d is good twice", id)
			case err == nil:
				used[id] = true
			case !errors.Is(err, dpop.ErrReplayed) && !errors.Is(err, dpop.ErrFull):
				t.Fatal(err)
			}
			if n := m.Len(); n > capacity/64 {
				t.Fatalf("%d proofs in a shard for %d", n, capacity/64)
			}
		}
	})
}

func TestAFullMemoryRefusesUntilProofsEnd(t *testing.T) {
	m := dpop.NewMemory(64, time.Unix(0, 0)) // one in each shard
	for id := range uint64(64) {
		if err := m.Remember(t.Context(), use(id, 100, 160)); err != nil {
			t.Fatalf("proof %d: %v", id, err)
		}
	}
	if err := m.Remember(t.Context(), use(64, 159, 200)); !errors.Is(err, dpop.ErrFull) {
		t.Errorf("one more: %v", err)
	}
	if err := m.Remember(t.Context(), use(1, 159, 160)); !errors.Is(err, dpop.ErrReplayed) {
		t.Errorf("one that is held: %v", err)
	}
	if err := m.Remember(t.Context(), use(64, 160, 200)); err != nil {
		t.Errorf("after the end of the first: %v", err)
	}
	if n := m.Len(); n != 64 {
		t.Errorf("%d proofs are held, want 64", n)
	}
}

func TestAClockThatIsSetBackMakesNoProofGoodAgain(t *testing.T) {
	m := dpop.NewMemory(0, time.Unix(0, 0))
	if err := m.Remember(t.Context(), use(0, 100, 160)); err != nil {
		t.Fatal(err)
	}
	if err := m.Remember(t.Context(), use(64, 200, 260)); err != nil { // the first is let go
		t.Fatal(err)
	}
	if err := m.Remember(t.Context(), use(0, 100, 160)); !errors.Is(err, dpop.ErrReplayed) {
		t.Errorf("%v", err)
	}
}
