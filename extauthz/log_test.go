package extauthz

import (
	"strings"
	"testing"
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
