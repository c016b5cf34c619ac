package load

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// InFlight is how many checks of a closed loop wait for their answer at a time.
const InFlight = 32

// Closed sends count checks in a closed loop: the next one when one is answered. It
// returns how long each took and how many were not allowed.
func (c *Client) Closed(ctx context.Context, checks []Check, count int) (latencies []time.Duration, bad int) {
	latencies = make([]time.Duration, count)
	var next, refused atomic.Int64
	var workers sync.WaitGroup
	for w := range InFlight {
		workers.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= count {
					return
				}
				begin := time.Now()
				answer := c.Ask(ctx, w, &checks[i%len(checks)])
				latencies[i] = time.Since(begin)
				if answer != Allowed {
					refused.Add(1)
				}
			}
		})
	}
	workers.Wait()
	return latencies, int(refused.Load())
}
