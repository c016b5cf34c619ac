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
// With 100,000 cached tokens of 1 KB some 80 MiB are live; with as much again for
// garbage, 180 MiB were resident, and with 30 MiB of it less than 150. The second is
// what people expect of such a cache, so a large heap leaves less room. A gate with
// fewer tokens has all of it.
const (
	garbageRoom    = 64 << 20
	usualHeap      = 112 << 20 // with more, the room is what is left of it
	maxGCPercent   = 400
	minGCPercent   = 35
	collectorCheck = time.Second // a cache fills in seconds
)

// gcPercent returns the setting that leaves garbageRoom beside a live heap of
// that size, within bounds.
func gcPercent(live uint64) int {
	if live <= garbageRoom*100/maxGCPercent {
		return maxGCPercent
	}
	room := min(garbageRoom, usualHeap-min(live, usualHeap))
	return max(minGCPercent, int(room*100/live)) //nolint:gosec // below maxGCPercent
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
	last := 0
	for {
		metrics.Read(sample)
		if sample[0].Value.Kind() == metrics.KindUint64 {
			// Only a change: each setting stops the program for a moment.
			if percent := gcPercent(sample[0].Value.Uint64()); percent != last {
				debug.SetGCPercent(percent)
				last = percent
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
