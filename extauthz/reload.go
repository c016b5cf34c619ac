package extauthz

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// warmTime is how long a new configuration may wait for the keys of new issuers
// before it takes over: their tokens would get 503 meanwhile, and those of the
// old ones must not wait long for what the operator has changed.
const warmTime = 2 * time.Second

// Reload puts another configuration in force, in one step: each check is decided
// by the old one or the new one and never by parts of both. It returns what is
// wrong with cfg, and then the old configuration goes on as if nothing had been.
//
// An issuer whose identifier, URLs, files and HTTP settings are the same keeps
// its keys. Keys of new issuers are waited for, for two seconds and at most until
// ctx ends, if [Gate.Run] is running. The tokens of an issuer that is gone are
// refused from then on, the cached ones too.
//
// Under [Serve], a cfg whose server.tls names other files than the one before is
// wrong if these cannot be used, or if their certificate is not valid now while
// the one in force is.
//
// What only a restart can change (server.listen, admin.listen,
// server.maxConnectionAge, TLS on or off) stays as it was, and a log line says
// so. Later changes of cfg have no effect. One Reload runs at a time.
func (g *Gate) Reload(ctx context.Context, cfg *Config) error {
	valid, err := cfg.validated()
	if err != nil {
		return err
	}
	g.reloading.Lock()
	defer g.reloading.Unlock()
	before := g.set.Load()
	kept := keepForRestart(before.config, valid)
	certificates, err := g.certificates.changed(before.config.Server.TLS, valid.Server.TLS)
	if err != nil {
		return err
	}
	next, err := g.build(valid, before.validator)
	if err != nil {
		return err
	}
	warm, cancel := context.WithTimeout(ctx, warmTime)
	defer cancel()
	next.validator.Warm(warm)
	if g.closed {
		next.validator.Close()
		return errors.New("extauthz: the gate is closed")
	}
	g.set.Store(next)
	g.certificates.take(certificates)
	g.metrics.configured(len(valid.Issuers))
	g.metrics.forget(before.config, valid)
	// Checks that run still hold the old set, and its keys at hand stay usable.
	before.validator.Close()
	for _, field := range kept {
		g.logger.Warn("a restart is needed to apply a change of the configuration; until then it stays as it was",
			slog.String("field", field))
	}
	for _, text := range weakened(before.config, valid) {
		g.logger.Warn("the new configuration lets more through than the one before", slog.String("change", text))
	}
	next.warn(g.logger)
	return nil
}

// warn logs what is allowed and yet hardly meant.
func (s *policySet) warn(logger *slog.Logger) {
	for _, name := range s.insecureIssuers {
		logger.Warn("plain http is allowed for this issuer: whoever is on the way can replace its keys", slog.String("issuer", name))
	}
	for _, w := range s.config.Warnings() {
		logger.Warn("the configuration is allowed and yet hardly meant", slog.String("where", w.Path), slog.String("warning", w.Text))
	}
}

// keepForRestart names the fields that differ and that a running daemon cannot
// change, and gives next the values that are in force.
func keepForRestart(before, next *Config) []string {
	var fields []string
	keep := func(field string, same bool, restore func()) {
		if !same {
			fields = append(fields, field)
			restore()
		}
	}
	keep("server.listen", before.Server.Listen == next.Server.Listen, func() { next.Server.Listen = before.Server.Listen })
	keep("server.tls", (before.Server.TLS == nil) == (next.Server.TLS == nil), func() { next.Server.TLS = before.Server.TLS })
	keep("server.maxConnectionAge", before.Server.maxConnectionAge() == next.Server.maxConnectionAge(),
		func() { next.Server.MaxConnectionAge = before.Server.MaxConnectionAge })
	keep("admin.listen", before.Admin.Listen == next.Admin.Listen, func() { next.Admin.Listen = before.Admin.Listen })
	return fields
}

// configWatch follows the configuration's file. It compares contents, so that a
// mounted ConfigMap, whose link is swapped, is seen like a file that is written
// again; a file that was only half written is an error now and good the next
// time.
type configWatch struct {
	file    string
	gate    *Gate
	logger  *slog.Logger
	applied func(*Config) // called after a reload; nil is allowed

	inForce  digest // of the content that decides; zero until the first look
	tried    digest // of the content that was looked at last
	trouble  string // why that one does not decide, "" if it does
	mayLater bool   // it could be good without a change: a file that it names was missing
}

func newConfigWatch(file string, gate *Gate, logger *slog.Logger, applied func(*Config)) *configWatch {
	return &configWatch{file: file, gate: gate, logger: logger, applied: applied}
}

// look reads the file and puts it in force if it has changed and is good.
func (w *configWatch) look(ctx context.Context) {
	if w.file == "" {
		return
	}
	data, err := readConfig(w.file)
	if err != nil {
		w.fail(digest{}, unreadable(w.file, err), false)
		return
	}
	sum := digestOf(data)
	switch {
	case sum == w.inForce && w.trouble != "":
		w.logger.Info("the configuration file is again the one that is in force", slog.String("file", w.file))
		w.tried, w.trouble, w.mayLater = sum, "", false
		w.gate.trouble.Store(nil)
		return
	case sum == w.tried && !w.mayLater:
		return
	}
	cfg, err := ParseConfig(w.file, data)
	if err != nil {
		w.fail(sum, err, false)
		return
	}
	if w.inForce == (digest{}) && configHash(cfg) == w.gate.set.Load().hash {
		w.inForce, w.tried, w.trouble = sum, sum, "" // what the gate was started with
		return
	}
	if err := w.gate.Reload(ctx, cfg); err != nil {
		if ctx.Err() == nil {
			w.fail(sum, err, true)
		}
		return
	}
	w.inForce, w.tried, w.trouble, w.mayLater = sum, sum, "", false
	w.gate.trouble.Store(nil)
	w.gate.metrics.reloads.WithLabelValues("success").Inc()
	set := w.gate.set.Load()
	w.logger.Info("the configuration was reloaded", slog.String("file", w.file), slog.String("hash", set.hash),
		slog.Int("issuers", len(set.config.Issuers)), slog.Int("policies", len(set.config.Policies)))
	if w.applied != nil {
		w.applied(set.config)
	}
}

// fail reports a content that cannot be used: once, not at each look.
func (w *configWatch) fail(sum digest, err error, mayLater bool) {
	text := err.Error()
	if sum == w.tried && text == w.trouble {
		return
	}
	w.tried, w.trouble, w.mayLater = sum, text, mayLater
	w.gate.trouble.Store(newReloadTrouble(err, w.gate.clock()))
	w.gate.metrics.reloads.WithLabelValues("failure").Inc()
	attrs := []any{slog.String("file", w.file), slog.String("error", text)}
	var bad *ConfigError
	if errors.As(err, &bad) && len(bad.Problems) > 0 {
		attrs = []any{slog.String("file", w.file), slog.Int("problems", len(bad.Problems)), slog.String("first", bad.Problems[0].String())}
	}
	w.logger.Error("the configuration could not be reloaded: the old one stays in force", attrs...)
}

// watchFiles looks at the configuration and at the certificates every
// server.reloadInterval of the configuration in force, and whenever now says,
// until ctx ends.
func watchFiles(ctx context.Context, w *configWatch, certificates *serverTLS, now <-chan struct{}) {
	w.look(ctx) // it may have changed since it was read for the start
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Stop()
		if interval := w.gate.set.Load().config.Server.reloadInterval(); interval > 0 {
			timer.Reset(interval)
		}
		asked := false
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-now:
			asked = true
		}
		before := w.tried
		w.look(ctx)
		if asked && w.tried == before && w.file != "" {
			w.logger.Info("asked to reload: "+w.answer(), slog.String("file", w.file))
		}
		certificates.look()
	}
}

func (w *configWatch) answer() string {
	if w.trouble != "" {
		return fmt.Sprintf("the file has not changed and still cannot be used: %s", w.trouble)
	}
	return "the file has not changed"
}
