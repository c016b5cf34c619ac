package main

import "testing"

func TestTheCollectorLeavesRoomWithinBounds(t *testing.T) {
	for live, want := range map[uint64]int{
		0:         400,
		16 << 20:  400,
		32 << 20:  200,
		48 << 20:  133,
		60 << 20:  86,
		80 << 20:  40,
		130 << 20: 35,
		500 << 20: 35,
	} {
		if got := gcPercent(live); got != want {
			t.Errorf("with %d MiB alive: %d %%, want %d", live>>20, got, want)
		}
	}
}
