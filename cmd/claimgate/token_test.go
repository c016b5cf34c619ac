package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/claimgate/claimgate/oidc/oidctest"
)

// watched is standard error, with somebody who reads along.
type watched struct {
	mu   sync.Mutex
	text bytes.Buffer
	see  func(text string)
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, _ = w.text.Write(p) // a bytes.Buffer takes everything
	w.see(w.text.String())
	return len(p), nil
}

func TestTokenOfADeviceIsApprovedElsewhere(t *testing.T) {
	t.Parallel() // it waits for as long as the issuer wants to be left alone
	issuer := oidctest.NewIssuer()
	defer issuer.Close()
	issuer.RegisterClient(oidctest.Client{ID: "tv", Method: "none"})
	code := regexp.MustCompile(`type the code ([A-Z0-9]{4}-[A-Z0-9]{4})\n`)
	var approve sync.Once
	said := &watched{see: func(text string) {
		if m := code.FindStringSubmatch(text); m != nil {
			approve.Do(func() { issuer.Approve(m[1], "alice") })
		}
	}}
	var out bytes.Buffer
	kept := filepath.Join(t.TempDir(), "kept")
	exit := execute(t.Context(), []string{"token", "--issuer", issuer.URL, "--client", "tv", "--grant", "device", "--scope", "openid", "-o", "json", "--cache", kept},
		streams{strings.NewReader(""), &out, said})
	if exit != 0 || !strings.Contains(out.String(), `"subject": "alice"`) || strings.Contains(said.text.String(), "ey") {
		t.Errorf("exit %d\n%s\n%s", exit, &said.text, &out)
	}
	if info, err := os.Stat(kept); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file that keeps the token: %v, %v", info, err)
	}
}
