package lab

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Echo is what an upstream answers: who it is and what it was told of the
// client.
type Echo struct {
	Upstream string              `json:"upstream"`
	Method   string              `json:"method"`
	Path     string              `json:"path"`
	Identity map[string][]string `json:"identity"` // every header that a careless reader might take for one

	Trailer map[string][]string `json:"trailer,omitempty"` // what came behind the body, if anything may

	// What of the client's credentials came along.
	Authorization []string `json:"authorization,omitempty"`
	Cookie        []string `json:"cookie,omitempty"`
}

// upstream is a service behind Envoy that believes what it is told.
type upstream struct {
	addr   string
	server *http.Server
	serve  sync.WaitGroup
}

func startUpstream(name string) (*upstream, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	var protocols http.Protocols // Envoy speaks HTTP/1.1 unless its cluster says otherwise
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	u := &upstream{addr: l.Addr().String(), server: &http.Server{
		Protocols:         &protocols,
		ReadHeaderTimeout: 10 * time.Second,
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { echo(name, w, r) }),
	}}
	u.serve.Go(func() { _ = u.server.Serve(l) })
	return u, nil
}

func (u *upstream) stop() {
	_ = u.server.Close()
	u.serve.Wait()
}

func echo(name string, w http.ResponseWriter, r *http.Request) {
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		upgrade(name, w, r)
		return
	}
	_, _ = io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, 1<<20)) // trailers come behind it
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(echoOf(name, r)) // the client may be gone
}

func echoOf(name string, r *http.Request) Echo {
	return Echo{
		Upstream: name, Method: r.Method, Path: r.RequestURI, Identity: identityOf(r.Header), Trailer: r.Trailer,
		Authorization: r.Header.Values("Authorization"), Cookie: r.Header.Values("Cookie"),
	}
}

// identityOf picks the identity headers.
func identityOf(h http.Header) map[string][]string {
	identity := map[string][]string{}
	for name, values := range h {
		if IsIdentity(name) {
			lower := strings.ToLower(name)
			identity[lower] = append(identity[lower], values...)
		}
	}
	return identity
}

// IsIdentity reports whether a header reads as x-auth-… once letters are
// lower-cased and every byte but letters and digits is taken for a dash, as some
// frameworks do.
func IsIdentity(name string) bool {
	alias := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + ('a' - 'A')
		default:
			return '-'
		}
	}, name)
	return strings.HasPrefix(alias, "x-auth-")
}

// upgrade accepts a WebSocket without speaking its frames: after 101 it writes
// one line and closes. What is tested is who gets that far.
func upgrade(name string, w http.ResponseWriter, r *http.Request) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close() //nolint:errcheck // all that matters has been flushed
	line, err := json.Marshal(echoOf(name, r))
	if err != nil {
		return
	}
	_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n" + string(line) + "\n")
	_ = rw.Flush()
}
