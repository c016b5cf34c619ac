package lab

import (
	"context"
	"log/slog"
	"time"
)

// Decision is what the gate's log says of one check.
type Decision struct {
	Reason, Policy, Issuer string
}

// recorder is a slog handler that keeps decision records and drops all else.
type recorder struct{ decisions chan<- Decision }

func (r *recorder) Enabled(context.Context, slog.Level) bool { return true }

func (r *recorder) Handle(_ context.Context, record slog.Record) error {
	if record.Message != "check" {
		return nil
	}
	var d Decision
	record.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "reason":
			d.Reason = a.Value.String()
		case "policy":
			d.Policy = a.Value.String()
		case "issuer":
			d.Issuer = a.Value.String()
		}
		return true
	})
	select {
	case r.decisions <- d:
	default: // nobody listens; the log must not block
	}
	return nil
}

func (r *recorder) WithAttrs([]slog.Attr) slog.Handler { return r }
func (r *recorder) WithGroup(string) slog.Handler      { return r }

// Forget drops the decisions that nobody has asked for.
func (l *Lab) Forget() {
	for {
		select {
		case <-l.decisions:
		default:
			return
		}
	}
}

// Decision returns the next decision of the gate. It waits a little, since the
// log is written behind the answer; ok is false if none came.
func (l *Lab) Decision() (d Decision, ok bool) {
	select {
	case d = <-l.decisions:
		return d, true
	case <-time.After(30 * time.Second):
		return Decision{}, false
	}
}
