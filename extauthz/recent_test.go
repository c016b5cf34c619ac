package extauthz

import (
	"sync"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc"
)

func TestRecentChecksAreThoseOfTheLastMinutes(t *testing.T) {
	c := newRecentChecks()
	start := time.Unix(1_800_000_000, 0).Truncate(time.Minute)
	for minute := range 40 {
		for range minute + 1 {
			c.add(oidc.Expired, start.Add(time.Duration(minute)*time.Minute+59*time.Second))
		}
	}
	c.add(oidc.ValidToken, start.Add(39*time.Minute))
	c.add("no reason of ours", start.Add(39*time.Minute))
	now := start.Add(40*time.Minute - time.Second)
	got := c.since(now)
	if len(got) != 2 || got[0].reason != oidc.Expired || got[1].reason != oidc.ValidToken {
		t.Fatalf("reasons %+v", got)
	}
	if one, five, all := got[0].last(1), got[0].last(5), got[0].last(recentMinutes); one != 40 || five != 190 || all != 495 {
		t.Errorf("%d in a minute, %d in five, %d in all; want 40, 190, 495", one, five, all)
	}
	if got := c.since(now.Add(recentMinutes * time.Minute)); got != nil {
		t.Errorf("after %d quiet minutes there is %+v", recentMinutes, got)
	}
	// A clock that is set back must not bring old counts back.
	c.add(oidc.Expired, start)
	if got := c.since(start); len(got) != 1 || got[0].last(recentMinutes) != 1 {
		t.Errorf("with the clock set back there is %+v", got)
	}
}

func TestCountingForThePageTakesNoMemoryAndLosesNothingWithinAMinute(t *testing.T) {
	c := newRecentChecks()
	now := time.Unix(1_800_000_000, 0)
	if n := testing.AllocsPerRun(100, func() { c.add(oidc.ValidToken, now) }); n != 0 {
		t.Errorf("%v allocations a check", n)
	}
	now = now.Add(time.Hour)
	c.add(oidc.Expired, now) // the minute has begun
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				c.add(oidc.ValidToken, now)
			}
		})
	}
	all.Wait()
	if got := c.since(now); got[0].last(1) != 8000 {
		t.Errorf("%d of 8000 counted", got[0].last(1))
	}
}
