package oidctest

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Transport reaches the issuer without a network: whoever uses it can be in a bubble
// of testing/synctest, where time goes on only if nobody waits for a connection. A
// request for another host fails.
func (i *Issuer) Transport() http.RoundTripper { return inProcess{i} }

type inProcess struct{ issuer *Issuer }

var errRefused = errors.New("connection refused")

// RoundTrip implements http.RoundTripper.
func (t inProcess) RoundTrip(r *http.Request) (answer *http.Response, err error) {
	i := t.issuer
	i.mu.Lock()
	up := i.running != nil
	i.mu.Unlock()
	if origin := r.URL.Scheme + "://" + r.URL.Host; !up || origin != i.origin {
		return nil, errRefused
	}
	body := []byte{}
	if r.Body != nil {
		defer r.Body.Close() //nolint:errcheck // it was only read
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	arrived := r.Clone(r.Context())
	arrived.URL = &url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery}
	arrived.RequestURI = arrived.URL.RequestURI()
	arrived.Host = r.URL.Host
	arrived.Body = io.NopCloser(bytes.NewReader(body))
	w := &recorder{header: http.Header{}}
	defer func() {
		if p := recover(); p != nil {
			if p != http.ErrAbortHandler { //nolint:errorlint // as net/http compares it
				panic(p)
			}
			answer, err = nil, io.ErrUnexpectedEOF
		}
	}()
	i.handler(nil).ServeHTTP(w, arrived)
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return &http.Response{
		Status: strconv.Itoa(w.status) + " " + http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(strings.NewReader(w.body.String())), ContentLength: int64(w.body.Len()), Request: r,
	}, nil
}

// recorder is an http.ResponseWriter that keeps what is written.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *recorder) Header() http.Header         { return w.header }
func (w *recorder) Write(b []byte) (int, error) { return w.body.Write(b) }
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}
