package extauthz

import (
	"strings"
	"testing"
	"unsafe"
)

// Records wait for their sink: what waits must not be as large as a client likes.
func TestARecordThatWaitsIsSmall(t *testing.T) {
	g := newTestGate(t, oneIssuer+"policies: [{name: all}]")
	huge := strings.Repeat("x", 1<<20)
	req := checkRequest("/"+huge, "authorization", "Bearer "+huge, "x-request-id", huge)
	req.GetAttributes().GetRequest().GetHttp().Host = "api." + huge
	g.check(t, req)
	req.GetAttributes().GetRequest().GetHttp().Host = "api"
	g.check(t, req)
	for range 2 {
		r := <-g.Gate.log.queue
		if size := len(r.method) + len(r.host) + len(r.path) + len(r.requestID) + len(r.source) + len(r.token); size > 20<<10 {
			t.Errorf("a record of %d bytes waits", size)
		}
		g.Gate.log.write(r)
	}
	out := g.log.String()
	if !strings.Contains(out, `"path":"/xxx`) || !strings.Contains(out, `"token":"`) {
		t.Errorf("a field is missing: %s", out)
	}
	if longest := strings.Repeat("x", maxLogField); strings.Contains(out, longest+"x") || !strings.Contains(out, longest[1:]) {
		t.Errorf("fields are not cut at %d bytes: %.2000s", maxLogField, out)
	}
}

// The wire's texts are parts of the whole request: a record must not keep it.
func TestARecordKeepsNothingOfTheRequest(t *testing.T) {
	buffer := []byte("GET/pathhostid10.0.0.1token")
	text := func(from, to int) string { return unsafe.String(&buffer[from], to-from) }
	r := decisionRecord{method: text(0, 3), path: text(3, 8), host: text(8, 12), requestID: text(12, 14), source: text(14, 22), token: text(22, 27)}
	r.detach()
	clear(buffer)
	if got := r.method + r.path + r.host + r.requestID + r.source + r.token; got != "GET/pathhostid10.0.0.1token" {
		t.Errorf("the record shares memory with the request: %q", got)
	}
}
