package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The garbage collector, left alone, runs whenever the heap has doubled. A gate
// with few cached tokens lives in some 20 MiB, so under load it would run dozens
// of times a second and take a sixth of the processor. Room for garbage that is
// fixed, rather than in proportion, costs memory once and takes that back.
//
// With 100,000 cached tokens of 1 KB some 80 MiB are live. Measured over all of them
// in turn, as a ratio to the reference of bench: 1.13 with a room as large as that
// again and 180 MiB resident, 1.33 with 60 % of it and 146 MiB. The second is what
// people expect of such a cache; a gate that has few tokens never gets there.
const (
	garbageRoom    = 48 << 20
	maxGCPercent   = 400
	minGCPercent   = 60
	collectorCheck = 10 * time.Second
)

// gcPercent returns the setting that leaves garbageRoom beside a live heap of
// that size, within bounds.
func gcPercent(live uint64) int {
	if live <= garbageRoom*100/maxGCPercent {
		return maxGCPercent
	}
	return max(minGCPercent, int(garbageRoom*100/live)) //nolint:gosec // below maxGCPercent
}

// paceCollector keeps the collector's setting in step with the live heap until
// ctx ends. GOGC wins if the operator set it, and GOMEMLIMIT always does.
func paceCollector(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	tick := time.NewTicker(collectorCheck)
	defer tick.Stop()
	for {
		metrics.Read(sample)
		if sample[0].Value.Kind() == metrics.KindUint64 {
			debug.SetGCPercent(gcPercent(sample[0].Value.Uint64()))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
