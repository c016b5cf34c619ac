package oidctest

import (
	"crypto/rand"
	"net/http"
	"time"
)

// pending is a request that waits for a user's answer: of a device (RFC 8628) or by
// a back channel (CIBA Core 1.0).
type pending struct {
	client   string
	scope    string
	subject  string // who has approved; "" if nobody has yet
	denied   bool
	interval time.Duration
	last     time.Time // of the last poll
	expiry   time.Time
}

// How long a user has, and how often a client may ask.
const (
	PendingLifetime = 10 * time.Minute
	PollInterval    = 5 * time.Second
)

// Approve answers for the user subject what waits under a user code (of a device)
// or an auth_req_id (of a back channel). It panics if nothing does.
func (i *Issuer) Approve(code, subject string) {
	i.answer(code, func(p *pending) { p.subject = subject })
}

// Deny refuses in the user's place what waits under a code.
func (i *Issuer) Deny(code string) { i.answer(code, func(p *pending) { p.denied = true }) }

func (i *Issuer) answer(code string, how func(*pending)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	p := i.state.pending[code]
	if p == nil {
		panic("oidctest: nothing waits for an answer under " + code)
	}
	how(p)
}

// wait lets a request of a client's wait under codes: that of the user, if it is
// another, and that of the client.
func (i *Issuer) wait(client *Client, scope string, codes ...string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.state.pending == nil {
		i.state.pending = map[string]*pending{}
	}
	p := &pending{client: client.ID, scope: scope, interval: PollInterval, last: i.clock(), expiry: i.clock().Add(PendingLifetime)}
	for _, code := range codes {
		i.state.pending[code] = p
	}
}

// serveDevice is the device authorization endpoint (RFC 8628 section 3.1).
func (i *Issuer) serveDevice(w http.ResponseWriter, r *http.Request) {
	client, refusal := i.clientRequest(w, r)
	if refusal != nil {
		refusal.write(w)
		return
	}
	text := rand.Text()
	deviceCode, userCode := "device-"+rand.Text(), text[:4]+"-"+text[4:8]
	i.wait(client, r.PostForm.Get("scope"), deviceCode, userCode)
	base := i.URLOf(DeviceAuthorization)
	writeJSON(w, http.StatusOK, map[string]any{
		"device_code": deviceCode, "user_code": userCode,
		"verification_uri": base + "/verify", "verification_uri_complete": base + "/verify?user_code=" + userCode,
		"expires_in": int(PendingLifetime.Seconds()), "interval": int(PollInterval.Seconds()),
	})
}

// serveBackchannel is the back-channel authentication endpoint (CIBA Core 1.0
// section 7), in mode poll.
func (i *Issuer) serveBackchannel(w http.ResponseWriter, r *http.Request) {
	client, refusal := i.clientRequest(w, r)
	if refusal != nil {
		refusal.write(w)
		return
	}
	hints := 0
	for _, name := range []string{"login_hint", "login_hint_token", "id_token_hint"} {
		if r.PostForm.Get(name) != "" {
			hints++
		}
	}
	if hints != 1 || client.Method == "none" {
		(&Refusal{Code: "invalid_request", Description: "not one hint, or a public client"}).write(w)
		return
	}
	id := "auth-req-" + rand.Text()
	i.wait(client, r.PostForm.Get("scope"), id)
	writeJSON(w, http.StatusOK, map[string]any{
		"auth_req_id": id, "expires_in": int(PendingLifetime.Seconds()), "interval": int(PollInterval.Seconds()),
	})
}

// poll answers the grants that wait for a user (RFC 8628 section 3.5). A client
// that asks too often is told to slow down, and has to.
func poll(parameter string) GrantFunc {
	return func(g GrantRequest) (map[string]any, *Refusal) {
		i := g.Issuer
		code := g.PostForm.Get(parameter)
		i.mu.Lock()
		p := i.state.pending[code]
		now := i.clock()
		var refusal *Refusal
		switch {
		case p == nil || p.client != g.Client.ID:
			refusal = &Refusal{Code: "invalid_grant"}
		case now.After(p.expiry):
			refusal = &Refusal{Code: "expired_token"}
		case now.Sub(p.last) < p.interval:
			p.interval += PollInterval
			refusal = &Refusal{Code: "slow_down"}
		case p.denied:
			refusal = &Refusal{Code: "access_denied"}
		case p.subject == "":
			refusal = &Refusal{Code: "authorization_pending"}
		default:
			delete(i.state.pending, code) // it is good once
		}
		if p != nil {
			p.last = now
		}
		i.mu.Unlock()
		if refusal != nil {
			return nil, refusal
		}
		return g.sessionAnswer(&session{client: p.client, subject: p.subject, scope: p.scope}), nil
	}
}
