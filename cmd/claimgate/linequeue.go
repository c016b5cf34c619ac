package main

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	lineQueueSize = 1024
	// lineFlushTime is how long the end waits for lines that are still to be
	// written: a reader that is stuck must not keep the process.
	lineFlushTime = time.Second
)

// lineQueue is a slog.Handler that makes nobody wait, whatever the log goes to: a
// disk that is full, a pipe that nobody reads. Lines go through a queue of fixed
// length to one goroutine that writes them; what finds no room, or cannot be
// written, is counted.
type lineQueue struct {
	to     slog.Handler
	writer *lineWriter // shared by the handlers made of this one
}

// lineWriter writes what is queued. Its creator closes it.
type lineWriter struct {
	lines  chan line
	lost   atomic.Uint64
	ending chan struct{} // closed when no more lines come
	ended  chan struct{} // closed when all are written
}

type line struct {
	to     slog.Handler
	record slog.Record
}

func newLineQueue(to slog.Handler) *lineQueue {
	w := &lineWriter{lines: make(chan line, lineQueueSize), ending: make(chan struct{}), ended: make(chan struct{})}
	go w.run()
	return &lineQueue{to, w}
}

func (w *lineWriter) run() {
	defer close(w.ended)
	for {
		select {
		case l := <-w.lines:
			w.write(l)
		case <-w.ending:
			for {
				select {
				case l := <-w.lines:
					w.write(l)
				default:
					return
				}
			}
		}
	}
}

func (w *lineWriter) write(l line) {
	if l.to.Handle(context.Background(), l.record) != nil {
		w.lost.Add(1)
	}
}

// close waits until what is queued is written, for a second at most. Lines that
// come later are not written.
func (q *lineQueue) close() {
	close(q.writer.ending)
	limit := time.NewTimer(lineFlushTime)
	defer limit.Stop()
	select {
	case <-q.writer.ended:
	case <-limit.C: // it is stuck in a write, and ends with the process
	}
}

// lost returns how many lines were not written.
func (q *lineQueue) lost() uint64 { return q.writer.lost.Load() }

// Enabled implements slog.Handler.
func (q *lineQueue) Enabled(ctx context.Context, level slog.Level) bool {
	return q.to.Enabled(ctx, level)
}

// Handle implements slog.Handler. It never fails: what is lost is counted.
func (q *lineQueue) Handle(_ context.Context, r slog.Record) error {
	select {
	case q.writer.lines <- line{q.to, r.Clone()}:
	default:
		q.writer.lost.Add(1)
	}
	return nil
}

// WithAttrs implements slog.Handler.
func (q *lineQueue) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &lineQueue{q.to.WithAttrs(attrs), q.writer}
}

// WithGroup implements slog.Handler.
func (q *lineQueue) WithGroup(name string) slog.Handler {
	return &lineQueue{q.to.WithGroup(name), q.writer}
}
