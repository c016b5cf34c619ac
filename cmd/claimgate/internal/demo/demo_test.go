package demo_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/demo"
	"github.com/claimgate/claimgate/cmd/claimgate/internal/lab"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTourWithoutEnvoyIsAsExpected(t *testing.T) {
	var out bytes.Buffer
	if err := demo.Run(t.Context(), demo.Options{Out: &out, Once: true, NoEnvoy: true}); err != nil {
		t.Errorf("Run: %v", err)
	}
	if !strings.Contains(out.String(), "20 of 20 as expected") || strings.Contains(out.String(), "✗") {
		t.Errorf("the tour was\n%s", out.String())
	}
}

// watched is a writer that tells when a text has been written.
type watched struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	want string
	seen func()
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf.Write(p)
	if w.seen != nil && strings.Contains(w.buf.String(), w.want) {
		w.seen()
		w.seen = nil
	}
	return len(p), nil
}

func TestDemoStaysUpUntilInterrupted(t *testing.T) {
	ctx, interrupt := context.WithTimeout(t.Context(), time.Minute)
	defer interrupt()
	out := &watched{want: "claimgate check --addr", seen: interrupt}
	if err := demo.Run(ctx, demo.Options{Out: out, NoEnvoy: true}); err != nil {
		t.Errorf("Run: %v", err)
	}
	if text := out.buf.String(); !strings.Contains(text, "· stopping") {
		t.Errorf("the demo did not say that it stops:\n%s", text)
	}
}

func TestInterruptedTourIsNotAsExpected(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	if err := demo.Run(ctx, demo.Options{Out: &bytes.Buffer{}, NoEnvoy: true}); !errors.Is(err, demo.ErrInterrupted) {
		t.Errorf("Run: %v, want ErrInterrupted", err)
	}
}

// A tour that cannot fail shows nothing.
func TestWalkSeesEveryDifference(t *testing.T) {
	l, err := lab.Start(t.Context(), lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	door, err := demo.NewGateDoor(l)
	if err != nil {
		t.Fatal(err)
	}
	defer door.Close() //nolint:errcheck // nothing is in flight

	public := demo.Want{Status: 200, Reason: "public", Upstream: lab.Customers}
	for name, change := range map[string]func(*demo.Want){
		"status":   func(w *demo.Want) { w.Status = 401 },
		"reason":   func(w *demo.Want) { w.Reason = "valid_token" },
		"upstream": func(w *demo.Want) { w.Upstream = lab.Workforce },
		"identity": func(w *demo.Want) { w.Identity = map[string]string{"x-auth-subject": "alice"} },
	} {
		want := public
		change(&want)
		r, err := demo.Walk(t.Context(), door, demo.Stop{Asked: name, Request: lab.Request{Path: "/public/terms"}, Want: want})
		if err != nil {
			t.Fatal(err)
		}
		if r.OK() || !strings.HasPrefix(strings.Join(r.Faults, " "), name) {
			t.Errorf("a wrong %s: faults %q", name, r.Faults)
		}
	}
}
