package extauthz

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/claimgate/claimgate/oidc"
)

// recentMinutes is how far back the status page looks, the minute that runs
// included.
const recentMinutes = 15

// recentChecks counts checks by reason in each of the last minutes. A count is one
// atomic addition: no lock, no memory. A check that ends while its minute's counts
// are being cleared may be lost; they are for people, metrics are exact.
type recentChecks struct {
	reasons []oidc.Reason       // in order
	index   map[oidc.Reason]int // in reasons; read only
	minutes [recentMinutes + 1]recentMinute
	turning sync.Mutex // held while a minute's counts are cleared, once a minute
}

type recentMinute struct {
	number atomic.Int64 // since 1970; counts of another one are over
	counts []atomic.Uint64
}

func newRecentChecks() *recentChecks {
	c := &recentChecks{reasons: oidc.Reasons(), index: map[oidc.Reason]int{}}
	slices.Sort(c.reasons)
	for i, r := range c.reasons {
		c.index[r] = i
	}
	for i := range c.minutes {
		c.minutes[i].counts = make([]atomic.Uint64, len(c.reasons))
	}
	return c
}

func (c *recentChecks) at(minute int64) *recentMinute {
	n := int64(len(c.minutes))
	return &c.minutes[(minute%n+n)%n]
}

func (c *recentChecks) add(reason oidc.Reason, now time.Time) {
	i, ok := c.index[reason]
	if !ok {
		return
	}
	number := now.Unix() / 60
	m := c.at(number)
	if m.number.Load() != number {
		c.turn(m, number)
	}
	m.counts[i].Add(1)
}

func (c *recentChecks) turn(m *recentMinute, number int64) {
	c.turning.Lock()
	defer c.turning.Unlock()
	if m.number.Load() == number {
		return
	}
	for i := range m.counts {
		m.counts[i].Store(0)
	}
	m.number.Store(number)
}

// reasonCounts are the checks of one reason, the oldest minute first and the one
// that runs last.
type reasonCounts struct {
	reason  oidc.Reason
	minutes [recentMinutes]uint64
}

// last sums the newest n minutes.
func (r *reasonCounts) last(n int) uint64 {
	var sum uint64
	for _, count := range r.minutes[recentMinutes-n:] {
		sum += count
	}
	return sum
}

// since returns the reasons that were seen in the last minutes, the most frequent
// first.
func (c *recentChecks) since(now time.Time) []reasonCounts {
	newest := now.Unix() / 60
	var list []reasonCounts
	for i, reason := range c.reasons {
		counts := reasonCounts{reason: reason}
		for back := range int64(recentMinutes) {
			if m := c.at(newest - back); m.number.Load() == newest-back {
				counts.minutes[recentMinutes-1-back] = m.counts[i].Load()
			}
		}
		if counts.last(recentMinutes) > 0 {
			list = append(list, counts)
		}
	}
	slices.SortStableFunc(list, func(a, b reasonCounts) int {
		return cmp.Compare(b.last(recentMinutes), a.last(recentMinutes))
	})
	return list
}
