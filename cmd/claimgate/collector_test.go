package main

import "testing"

func TestTheCollectorLeavesRoomWithinBounds(t *testing.T) {
	for live, want := range map[uint64]int{
		0:         400,
		12 << 20:  400,
		24 << 20:  200,
		48 << 20:  100,
		80 << 20:  60,
		500 << 20: 60,
	} {
		if got := gcPercent(live); got != want {
			t.Errorf("with %d MiB alive: %d %%, want %d", live>>20, got, want)
		}
	}
}
