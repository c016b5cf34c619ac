package oidctest

import (
	"io"
	"net/http"
	"sync"
)

// all is what a fault concerns that names no endpoint.
func all(at []Endpoint) []Endpoint {
	if len(at) == 0 {
		return []Endpoint{OpenIDDiscovery, OAuthDiscovery, JWKS}
	}
	return at
}

// Respond lets h answer at these endpoints (all of them if none is named),
// until [Issuer.Recover]. It is the fault that all others are made of: write a
// handler for a body that never ends, a slow header, another content type.
func (i *Issuer) Respond(h http.HandlerFunc, at ...Endpoint) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.state.overrides == nil {
		i.state.overrides = make(map[Endpoint]http.HandlerFunc)
	}
	for _, e := range all(at) {
		i.state.overrides[e] = h
	}
}

// Fail answers with an HTTP status.
func (i *Issuer) Fail(status int, at ...Endpoint) {
	i.Respond(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, http.StatusText(status), status)
	}, at...)
}

// Body answers 200 with exactly this body, as application/json. Without an
// endpoint it is the key set's.
func (i *Issuer) Body(body string, at ...Endpoint) {
	i.respondBody("application/json", body, at)
}

// HTML answers 200 with a web page, as a captive portal or a login page does.
// Without an endpoint it takes the key set's place.
func (i *Issuer) HTML(at ...Endpoint) {
	i.respondBody("text/html; charset=utf-8", "<!doctype html><title>Sign in</title>\n", at)
}

func (i *Issuer) respondBody(contentType, body string, at []Endpoint) {
	if len(at) == 0 {
		at = []Endpoint{JWKS}
	}
	i.Respond(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, body)
	}, at...)
}

// Redirect answers 302 to another place.
func (i *Issuer) Redirect(to string, at ...Endpoint) {
	i.Respond(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, to, http.StatusFound)
	}, at...)
}

// SetMetadata overrides a member of the discovery document. [Omit] removes it,
// nil makes it null.
func (i *Issuer) SetMetadata(name string, value any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.state.metadata == nil {
		i.state.metadata = make(map[string]any)
	}
	i.state.metadata[name] = value
}

// Lie names another issuer in discovery. Tokens stay as they are.
func (i *Issuer) Lie(issuer string) { i.SetMetadata("issuer", issuer) }

// Recover ends every fault but [Issuer.Down]: what hangs is released, what was
// overridden is served as before. Keys and cache headers stay as they are.
func (i *Issuer) Recover() {
	i.mu.Lock()
	hangs := i.state.hangs
	i.state.hangs = nil
	i.state.overrides = nil
	i.state.metadata = nil
	i.mu.Unlock()
	for _, h := range hangs {
		h.Release()
	}
}

// SetCacheControl sends this Cache-Control with every good answer, "" none.
func (i *Issuer) SetCacheControl(value string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.state.cacheControl = value
}

// SetETag sends an ETag with every good answer, and 304 to a client that has
// it.
func (i *Issuer) SetETag(on bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.state.etag = on
}

// SetGzip compresses the answers to clients that accept it.
func (i *Issuer) SetGzip(on bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.state.gzip = on
}

// Hang is a fault that makes requests wait. See [Issuer.Hang].
type Hang struct {
	once    sync.Once
	reached chan struct{}
	release sync.Once
	freed   chan struct{}
}

// Hang lets requests arrive and then wait, until Release, [Issuer.Recover],
// Down or Close, or until the client gives up. Released, they are answered as
// everything is at that time.
func (i *Issuer) Hang(at ...Endpoint) *Hang {
	h := &Hang{reached: make(chan struct{}), freed: make(chan struct{})}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.state.hangs == nil {
		i.state.hangs = make(map[Endpoint]*Hang)
	}
	for _, e := range all(at) {
		i.state.hangs[e] = h
	}
	return h
}

// Reached is closed when the first request has begun to wait.
func (h *Hang) Reached() <-chan struct{} { return h.reached }

// Release lets the waiting requests go on. Later ones do not wait. It may be
// called twice.
func (h *Hang) Release() { h.release.Do(func() { close(h.freed) }) }

// wait reports whether the request is to be answered.
func (h *Hang) wait(r *http.Request, ended <-chan struct{}) bool {
	h.once.Do(func() { close(h.reached) })
	select {
	case <-h.freed:
		return true
	case <-r.Context().Done():
		return false
	case <-ended:
		return false
	}
}
