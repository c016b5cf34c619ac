package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"
)

// Transaction is a login that has begun: what its callback and its tokens are
// compared with. It is good for one callback, within ten minutes.
//
// Keep it in the session of the user whose browser is sent away, and nowhere else:
// that the callback finds it there shows that it is the same browser. A program of
// more than one process stores [Transaction.Encode] in the session, and takes it
// out in the same step in which it reads it, so that it is used once. In a cookie
// it must be encrypted. Nothing prints what is in it.
type Transaction struct {
	data *transactionData // a pointer, because fmt prints unexported fields
	used atomic.Bool
}

// transactionLife is how long a login may take.
const transactionLife = 10 * time.Minute

// transactionData is what of a transaction is stored.
type transactionData struct {
	Version      int      `json:"v"`
	Issuer       string   `json:"iss"`
	ClientID     string   `json:"client"`
	RedirectURI  string   `json:"redirect"`
	State        string   `json:"state"`
	Nonce        string   `json:"nonce,omitempty"` // with the scope openid
	Verifier     string   `json:"verifier"`
	ResponseMode string   `json:"mode,omitempty"`
	Scopes       []string `json:"scopes,omitempty"`
	MaxAge       int64    `json:"max_age,omitempty"` // seconds, -1 for 0
	ACRValues    []string `json:"acr,omitempty"`     // of which the ID token must have one
	Thumbprint   string   `json:"jkt,omitempty"`     // of the DPoP key
	Expires      int64    `json:"exp"`
}

func (d *transactionData) expiry() time.Time { return time.Unix(d.Expires, 0) }

const transactionVersion = 1

func (c *Client) newTransaction(p AuthorizationParams) *Transaction {
	d := &transactionData{
		Version: transactionVersion, Issuer: c.cfg.issuer(), ClientID: c.cfg.ClientID, RedirectURI: p.RedirectURI,
		State: randomText(), Verifier: randomText(), ResponseMode: p.ResponseMode, Scopes: slices.Clone(p.Scopes),
		Thumbprint: c.thumbprint(), Expires: c.clock().Add(transactionLife).Unix(),
	}
	if slices.Contains(p.Scopes, "openid") {
		d.Nonce = randomText()
	}
	if p.RequireACR {
		d.ACRValues = slices.Clone(p.ACRValues)
	}
	switch {
	case p.MaxAge < 0:
		d.MaxAge = -1
	case p.MaxAge > 0:
		d.MaxAge = max(int64(p.MaxAge/time.Second), 1)
	}
	return &Transaction{data: d}
}

// State is the parameter state of the request: a key for a store that belongs to
// the user's session.
func (t *Transaction) State() string {
	if t.data == nil {
		return ""
	}
	return t.data.State
}

// Expiry is the end of the transaction.
func (t *Transaction) Expiry() time.Time {
	if t.data == nil {
		return time.Time{}
	}
	return t.data.expiry()
}

// Encode returns the transaction as a text for a store; [DecodeTransaction] reads
// it. Whoever has it and the callback can finish the login.
func (t *Transaction) Encode() Secret {
	if t.data == nil {
		return Secret{}
	}
	text, err := json.Marshal(t.data)
	if err != nil { // not of strings and numbers
		panic(err)
	}
	return NewSecret(string(text))
}

// maxTransaction bounds what DecodeTransaction reads.
const maxTransaction = 16 << 10

// DecodeTransaction reads what [Transaction.Encode] wrote. It must come from where
// nobody else could write it.
func DecodeTransaction(text Secret) (*Transaction, error) {
	raw := []byte(text.Reveal())
	if len(raw) > maxTransaction {
		return nil, errors.New("client: the transaction is over 16 KiB")
	}
	d := &transactionData{}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(d); err != nil || decoder.More() { // whose text may have some of it
		return nil, errors.New("client: the transaction is not one that Encode wrote")
	}
	if d.Version != transactionVersion || d.ClientID == "" || d.RedirectURI == "" || d.State == "" || d.Verifier == "" || d.Expires <= 0 {
		return nil, errors.New("client: the transaction is of another version, or incomplete")
	}
	return &Transaction{data: d}, nil
}

// Format implements fmt.Formatter, for all verbs.
func (t *Transaction) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) } // fmt has nobody to tell either

// LogValue implements slog.LogValuer.
func (t *Transaction) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler, which encoding/json uses too: see
// Encode.
func (t *Transaction) MarshalText() ([]byte, error) { return []byte(redacted), nil }
