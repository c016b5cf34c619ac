package load

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Closed sends count checks in a closed loop, inFlight at a time: the next one when
// one is answered. It returns how long each took and how many had another status
// than want.
func Closed(ctx context.Context, to Target, checks []Check, inFlight, count, want int) (latencies []time.Duration, bad int) {
	latencies = make([]time.Duration, count)
	var next, others atomic.Int64
	var workers sync.WaitGroup
	for w := range inFlight {
		workers.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= count {
					return
				}
				begin := time.Now()
				status, arrived := to.Ask(ctx, w, &checks[i%len(checks)])
				latencies[i] = arrived.Sub(begin)
				if status != want {
					others.Add(1)
				}
			}
		})
	}
	workers.Wait()
	return latencies, int(others.Load())
}
