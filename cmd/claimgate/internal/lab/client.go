package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Request is a request to be sent exactly as it is written here.
type Request struct {
	Method  string      // "" is GET
	Host    string      // "" is shop.example.com
	Path    string      // the request target
	Headers [][2]string // in this order, Host not included
	HTTP2   bool        // over HTTP/2, where names are in lower case; else HTTP/1.1
	Body    string      // HTTP/2 only
	Trailer [2]string   // HTTP/2 only; wants a Body
}

// Bearer is the Authorization header of a token.
func Bearer(token string) [2]string { return [2]string{"Authorization", "Bearer " + token} }

// Answer is what came back.
type Answer struct {
	Status    int
	Challenge []string // WWW-Authenticate
	Header    http.Header
	Body      string
	Echo      Echo // of an upstream, zero if none answered
}

// exchangeTimeout bounds one request, Envoy's own time-outs included.
const exchangeTimeout = 15 * time.Second

// WithDefaults fills what is empty.
func (r Request) WithDefaults() Request {
	if r.Method == "" {
		r.Method = http.MethodGet
	}
	if r.Host == "" {
		r.Host = "shop.example.com"
	}
	return r
}

// Do sends a request to Envoy over a connection of its own.
func (l *Lab) Do(ctx context.Context, request Request) (Answer, error) {
	if l.EnvoyAddr == "" {
		return Answer{}, errors.New("the lab has no Envoy")
	}
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	if request.HTTP2 {
		return l.doHTTP2(ctx, request.WithDefaults())
	}
	return l.doHTTP1(ctx, request.WithDefaults())
}

// doHTTP1 writes the request by hand: net/http would join headers, change their
// case and clean the path.
func (l *Lab) doHTTP1(ctx context.Context, r Request) (Answer, error) {
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.Method, r.Path, r.Host)
	closes := true
	for _, h := range r.Headers {
		fmt.Fprintf(&text, "%s: %s\r\n", h[0], h[1])
		closes = closes && !strings.EqualFold(h[0], "connection")
	}
	if closes {
		text.WriteString("Connection: close\r\n")
	}
	text.WriteString("\r\n")

	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", l.EnvoyAddr)
	if err != nil {
		return Answer{}, err
	}
	defer conn.Close() //nolint:errcheck // read to its end
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if _, err := io.WriteString(conn, text.String()); err != nil {
		return Answer{}, err
	}
	reader := bufio.NewReader(conn)
	// The method matters: there is no body after CONNECT.
	response, err := http.ReadResponse(reader, &http.Request{Method: r.Method})
	if err != nil {
		return Answer{}, fmt.Errorf("reading the answer: %w", err)
	}
	defer response.Body.Close() //nolint:errcheck // read to its end
	var body []byte
	if response.StatusCode == http.StatusSwitchingProtocols {
		body, err = reader.ReadBytes('\n')
	} else {
		body, err = io.ReadAll(response.Body)
	}
	if err != nil {
		return Answer{}, fmt.Errorf("reading the body: %w", err)
	}

	return answerOf(response, body)
}

// doHTTP2 has net/http write the frames. In HTTP/2 it leaves headers as they are,
// but for the case.
func (l *Lab) doHTTP2(ctx context.Context, r Request) (Answer, error) {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &protocols}
	defer transport.CloseIdleConnections()

	request, err := http.NewRequestWithContext(ctx, r.Method, "http://"+l.EnvoyAddr, strings.NewReader(r.Body))
	if err != nil {
		return Answer{}, err
	}
	request.Host = r.Host
	if strings.HasPrefix(r.Path, "//") {
		request.URL.Path = r.Path // an opaque one would be taken for a host
	} else {
		request.URL.Opaque = r.Path
	}
	for _, h := range r.Headers {
		request.Header[h[0]] = append(request.Header[h[0]], h[1])
	}
	if r.Trailer[0] != "" {
		request.ContentLength = -1
		request.Trailer = http.Header{r.Trailer[0]: {r.Trailer[1]}}
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return Answer{}, err
	}
	defer response.Body.Close() //nolint:errcheck // read to its end
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return Answer{}, fmt.Errorf("reading the body: %w", err)
	}
	return answerOf(response, body)
}

func answerOf(response *http.Response, body []byte) (Answer, error) {
	a := Answer{
		Status:    response.StatusCode,
		Challenge: response.Header.Values("Www-Authenticate"),
		Header:    response.Header,
		Body:      string(body),
	}
	if len(body) == 0 { // HEAD
		return a, nil
	}
	if a.Status == http.StatusOK || a.Status == http.StatusSwitchingProtocols {
		if err := json.Unmarshal(body, &a.Echo); err != nil && response.Header.Get("Content-Type") == "application/json" {
			return a, fmt.Errorf("an upstream answered oddly: %w", err)
		}
	}
	return a, nil
}
