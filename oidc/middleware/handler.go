package middleware

import (
	"crypto/sha256"
	"io"
	"net/http"
	"strings"
)

// Handler returns a handler that lets next see the requests that may pass, with
// the token in their context, and answers the others.
func (g *Guard) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d := g.Check(r.Context(), requestOf(r))
		if !d.Allowed() {
			d.write(w, r)
			return
		}
		for name, values := range d.Header() {
			w.Header()[name] = values
		}
		next.ServeHTTP(w, r.WithContext(d.Context(r.Context())))
	})
}

// RequireScopes returns a middleware that stands behind the Handler, and lets
// requests pass whose token has all of the scopes. Without a Handler before it
// nothing passes. OnDecision hears of its refusals, after it has heard of the
// Handler's allow.
func (g *Guard) RequireScopes(scopes ...string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			d := decisionFrom(r.Context())
			if d.reason == "" {
				d.challenge = g.challenge
			}
			if d = d.alsoNeeds(scopes); !d.Allowed() {
				if g.onDecision != nil {
					g.onDecision(r.Context(), d)
				}
				d.write(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// requestOf takes from an http.Request what a decision is about.
func requestOf(r *http.Request) Request {
	request := Request{
		Header: r.Header,
		Method: r.Method,
		Path:   targetPath(r),
	}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		sum := sha256.Sum256(r.TLS.PeerCertificates[0].Raw)
		request.CertSHA256 = sum[:]
	}
	return request
}

// targetPath returns the path as the client sent it: routers that strip a prefix
// change the URL and not the request's target.
func targetPath(r *http.Request) string {
	target := r.RequestURI
	if i := strings.Index(target, "://"); i > 0 && target[0] != '/' { // the absolute form (RFC 9112 section 3.2.2)
		target = target[i+len("://"):]
		if i = strings.IndexAny(target, "/?#"); i < 0 {
			return "/"
		}
		target = target[i:]
	}
	if target == "" { // a request that no server read
		return r.URL.EscapedPath()
	}
	return target
}

// write answers a request that does not pass. A gRPC client gets plain text.
func (d Decision) write(w http.ResponseWriter, r *http.Request) {
	for name, values := range d.Header() {
		w.Header()[name] = values
	}
	body := d.Body()
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
		w.Header().Set("Content-Type", "text/plain")
		body = d.Reason().Description()
	}
	w.WriteHeader(d.Status())
	_, _ = io.WriteString(w, body) //nolint:gosec // it is made of constants; and a client that is gone needs no answer
}
