package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/claimgate/claimgate/internal/regularfile"
	"github.com/claimgate/claimgate/oidc/client"
)

// printedToken is a token as it is printed and kept: here, and only here, it is
// text.
type printedToken struct {
	AccessToken     string     `json:"access_token"`
	TokenType       string     `json:"token_type"`
	Expiry          *time.Time `json:"expires_at,omitempty"`
	Scopes          []string   `json:"scopes,omitempty"`
	RefreshToken    string     `json:"refresh_token,omitempty"`
	IDToken         string     `json:"id_token,omitempty"`
	Subject         string     `json:"subject,omitempty"` // of the ID token
	IssuedTokenType string     `json:"issued_token_type,omitempty"`
}

func newPrintedToken(t *client.TokenResponse) *printedToken {
	p := &printedToken{
		AccessToken: t.AccessToken.Reveal(), TokenType: t.TokenType, Scopes: t.Scopes,
		RefreshToken: t.RefreshToken.Reveal(), IDToken: t.IDToken.Reveal(), IssuedTokenType: t.IssuedTokenType,
	}
	if !t.Expiry.IsZero() {
		utc := t.Expiry.UTC().Truncate(time.Second)
		p.Expiry = &utc
	}
	if t.ID != nil {
		p.Subject = t.ID.Subject
	}
	return p
}

func (p *printedToken) write(w io.Writer, format string) error {
	if format == "json" {
		text, err := json.Marshal(p) //nolint:gosec // to print tokens is what the command is for
		if err != nil {
			return err
		}
		return writeJSON(w, text)
	}
	_, err := fmt.Fprintln(w, p.AccessToken)
	return err
}

// writeJSON prints a JSON text for people and programs.
func writeJSON(w io.Writer, text json.RawMessage) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(text)
}

// tokenCache is a file with one token; without a name it keeps nothing.
type tokenCache struct {
	file    string
	request string
}

// keptToken is what is in the file.
type keptToken struct {
	Request string        `json:"request"`
	Token   *printedToken `json:"token"`
}

// keptReserve is how long a token that was kept must still be good for.
const keptReserve = time.Minute

// read returns the token that is kept for the request, nil if there is none that is
// still good. A file that makes no sense is one without a token.
func (c tokenCache) read(now time.Time) *printedToken {
	if c.file == "" {
		return nil
	}
	text, err := regularfile.Read(c.file, maxTokenFile)
	var kept keptToken
	if err != nil || json.Unmarshal(text, &kept) != nil || kept.Request != c.request || kept.Token == nil {
		return nil
	}
	t := kept.Token
	if t.AccessToken == "" || t.Expiry == nil || t.Expiry.Before(now.Add(keptReserve)) {
		return nil
	}
	return t
}

// write keeps a token. Only the user can read the file, and nobody ever finds half
// of it.
func (c tokenCache) write(t *printedToken) error {
	if c.file == "" {
		return nil
	}
	text, err := json.Marshal(keptToken{c.request, t})
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(c.file), ".token-*") // with mode 0600
	if err != nil {
		return fmt.Errorf("--cache: %w", err)
	}
	_, err = file.Write(text)
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(file.Name(), c.file)
	}
	if err != nil {
		_ = os.Remove(file.Name()) // the error is said already
		return fmt.Errorf("--cache: %w", err)
	}
	return nil
}
