package main

import (
	"context"
	"io"
	"log/slog"
	"sync/atomic"

	"github.com/claimgate/claimgate/extauthz"
)

// logHandler writes what the configuration in force wants: text on a terminal and
// JSON elsewhere, if it says nothing. It can be told of another configuration
// while it is in use.
type logHandler struct {
	to      io.Writer
	current *atomic.Pointer[slog.Handler] // shared by the handlers made of this one
	derive  func(slog.Handler) slog.Handler
}

func newLogHandler(w io.Writer, cfg extauthz.LogConfig) *logHandler {
	h := &logHandler{to: w, current: &atomic.Pointer[slog.Handler]{}, derive: func(h slog.Handler) slog.Handler { return h }}
	h.use(cfg)
	return h
}

// use follows cfg from now on.
func (h *logHandler) use(cfg extauthz.LogConfig) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		level = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: level}
	var next slog.Handler = slog.NewJSONHandler(h.to, options)
	if cfg.Format == "text" || cfg.Format == "" && isTerminal(h.to) {
		next = slog.NewTextHandler(h.to, options)
	}
	h.current.Store(&next)
}

func (h *logHandler) handler() slog.Handler { return h.derive(*h.current.Load()) }

// Enabled implements slog.Handler.
func (h *logHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return (*h.current.Load()).Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	return h.handler().Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.derived(func(to slog.Handler) slog.Handler { return to.WithAttrs(attrs) })
}

// WithGroup implements slog.Handler.
func (h *logHandler) WithGroup(name string) slog.Handler {
	return h.derived(func(to slog.Handler) slog.Handler { return to.WithGroup(name) })
}

func (h *logHandler) derived(further func(slog.Handler) slog.Handler) slog.Handler {
	return &logHandler{to: h.to, current: h.current, derive: func(to slog.Handler) slog.Handler { return further(h.derive(to)) }}
}
