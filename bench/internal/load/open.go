package load

import (
	"context"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Answer is what became of one check of an open loop.
type Answer struct {
	Check  int           // its place in the list
	Due    time.Duration // when it was to be sent, from the start of the loop
	Late   time.Duration // how much later the load got round to it
	Took   time.Duration // from when it was due until the answer was there, queueing included
	Status int
}

// Open sends checks in an open loop: at a fixed rate a second for a time, each when
// it is due, whatever the answers before it take. It goes through the list round
// and round, beginning at first, and returns when all are answered.
func Open(ctx context.Context, to Target, checks []Check, first int, rate float64, d time.Duration) []Answer {
	answers := make([]Answer, int(rate*d.Seconds()))
	sent := 0
	var waiting sync.WaitGroup
	runtime.LockOSThread() // and sleep in the kernel: the runtime's timers are a millisecond late
	defer runtime.UnlockOSThread()
	start := time.Now()
	for i := range answers {
		if ctx.Err() != nil {
			break
		}
		due := time.Duration(float64(i) / rate * float64(time.Second))
		if wait := due - time.Since(start); wait > 0 {
			t := syscall.NsecToTimespec(int64(wait))
			_ = syscall.Nanosleep(&t, nil) // woken early, it sends early
		}
		n := (first + i) % len(checks)
		sent++
		waiting.Go(func() {
			late := time.Since(start) - due
			status, arrived := to.Ask(ctx, i, &checks[n])
			answers[i] = Answer{Check: n, Due: due, Late: late, Took: arrived.Sub(start) - due, Status: status}
		})
	}
	waiting.Wait()
	return answers[:sent]
}

// Times returns how long the answers took.
func Times(answers []Answer) []time.Duration {
	list := make([]time.Duration, len(answers))
	for i, a := range answers {
		list[i] = a.Took
	}
	return list
}

// Without counts the answers that have another status.
func Without(answers []Answer, status int) int {
	n := 0
	for _, a := range answers {
		if a.Status != status {
			n++
		}
	}
	return n
}
