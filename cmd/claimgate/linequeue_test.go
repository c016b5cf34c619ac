package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/claimgate/claimgate/extauthz"
)

// stuckWriter is a reader that does not read, until it is released.
type stuckWriter struct{ release chan struct{} }

func (w stuckWriter) Write(p []byte) (int, error) {
	<-w.release
	return len(p), nil
}

func TestALogThatIsStuckMakesNobodyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := stuckWriter{make(chan struct{})}
		q := newLineQueue(newLogHandler(stuck, extauthz.LogConfig{}))
		logger := slog.New(q)
		const more = 7
		logger.Info("the one that is being written")
		synctest.Wait()
		for i := range lineQueueSize + more {
			logger.Info("line", slog.Int("number", i))
		}
		if got := q.lost(); got != more {
			t.Errorf("%d lines lost, want %d", got, more)
		}
		start := time.Now()
		q.close()
		if waited := time.Since(start); waited != lineFlushTime {
			t.Errorf("the end waited for %s", waited)
		}
		logger.Info("after the end")
		close(stuck.release)
	})
}

func TestALogThatCannotBeWrittenIsCounted(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("this system has no /dev/full")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close() //nolint:errcheck // nothing is in it
	q := newLineQueue(newLogHandler(full, extauthz.LogConfig{}))
	for range 3 {
		slog.New(q).Info("a line")
	}
	q.close()
	if got := q.lost(); got != 3 {
		t.Errorf("%d lines lost, want 3", got)
	}
}

func TestTheEndWaitsForWhatIsQueued(t *testing.T) {
	var out bytes.Buffer
	q := newLineQueue(newLogHandler(&out, extauthz.LogConfig{Format: "text"}))
	logger := slog.New(q).With("a", 1).WithGroup("g")
	var want strings.Builder
	for i := range 100 {
		logger.Info("line", slog.Int("n", i))
		fmt.Fprintf(&want, "level=INFO msg=line a=1 g.n=%d\n", i)
	}
	logger.Debug("not wanted")
	q.close()
	var got strings.Builder
	for text := range strings.Lines(out.String()) {
		_, rest, _ := strings.Cut(text, " ") // the time
		got.WriteString(rest)
	}
	if got.String() != want.String() || q.lost() != 0 {
		t.Errorf("%d lost: %s", q.lost(), got.String())
	}
}
