package load

import (
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
)

// The client is as fast as it is because it reads little. It must not take anything
// for an answer that is none, nor the end of one for the beginning of the next.
func TestHTTPAnswersAreTold(t *testing.T) {
	var connections atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("Authorization") {
		case "Bearer good":
			_, _ = w.Write([]byte("HTTP/1.1 503 not this\r\n\r\n"))
		case "Bearer bad":
			w.WriteHeader(http.StatusUnauthorized)
		case "Bearer chunked":
			w.(http.Flusher).Flush()
		case "Bearer broken":
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = conn.Write([]byte("HTTP/2 what\r\n\r\n"))
				_ = conn.Close()
			}
		case "Bearer gone":
			panic(http.ErrAbortHandler)
		}
		if r.Host != "api.example.com" || r.URL.RequestURI() != "/orders?page=2" || r.UserAgent() == "" {
			t.Errorf("the request is %s %s of %q", r.Host, r.URL, r.UserAgent())
		}
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	client := DialHTTP(s.Listener.Addr().String(), 1)
	defer client.Close()
	var got []int
	requests := Requests([]string{"good", "good", "bad", "good", "chunked", "good", "broken", "good", "gone", "good"})
	for i := range requests {
		status, _ := client.Ask(t.Context(), i, &requests[i])
		got = append(got, status)
	}
	want := []int{200, 200, 401, 200, Failed, 200, Failed, 200, Failed, 200}
	if !slices.Equal(got, want) {
		t.Errorf("answers %v, want %v", got, want)
	}
	if n := connections.Load(); n != 4 {
		t.Errorf("%d connections, want a new one after each failure", n)
	}
}

func TestHTTPWithoutAServerFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	client := DialHTTP(l.Addr().String(), 2)
	defer client.Close()
	requests := Requests([]string{"good"})
	if _, bad := Closed(t.Context(), client, requests, 8, 20, Allowed); bad != 20 {
		t.Errorf("%d of 20 failed", bad)
	}
}
