package e2e_test

import (
	"testing"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/demo"
	"github.com/claimgate/claimgate/cmd/claimgate/internal/lab"
)

func TestTourIsAsExpectedInBothEncodings(t *testing.T) {
	inBothEncodings(t, func(t *testing.T, l *lab.Lab) {
		walk(t, l, demo.EnvoyDoor{Lab: l})
	})
}

func TestTourIsAsExpectedAtTheGate(t *testing.T) {
	l := start(t, lab.Options{})
	door, err := demo.NewGateDoor(l)
	if err != nil {
		t.Fatal(err)
	}
	defer door.Close() //nolint:errcheck // nothing is in flight
	walk(t, l, door)
}

func walk(t *testing.T, l *lab.Lab, door demo.Door) {
	for _, stop := range demo.Tour(l) {
		r, err := demo.Walk(t.Context(), door, stop)
		if err != nil {
			t.Fatal(err)
		}
		for _, fault := range r.Faults {
			t.Errorf("%s: %s", stop.Asked, fault)
		}
	}
}
