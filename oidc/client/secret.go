package client

import (
	"context"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"strings"

	"github.com/claimgate/claimgate/internal/regularfile"
)

// Secret is a text that nothing prints: fmt with any verb, encoding/json, log/slog
// and text encodings show REDACTED in its place, wherever in a value it stands.
// [Secret.Reveal] is the one way to the text. The zero Secret is empty.
type Secret struct {
	// A pointer, because fmt prints unexported fields without asking their methods.
	text *string
}

const redacted = "REDACTED"

// NewSecret makes a Secret of a text. The text itself is not forgotten where it
// came from: read it from a file ([SecretFile]) rather than have it in a variable
// for long.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{&text}
}

// Reveal returns the text.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero reports whether the text is empty.
func (s Secret) IsZero() bool { return s.Reveal() == "" }

// Equal compares in constant time, but for the lengths.
func (s Secret) Equal(t Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(t.Reveal())) == 1
}

// String implements fmt.Stringer.
func (Secret) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (Secret) GoString() string { return redacted }

// Format implements fmt.Formatter, for all verbs.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) } // fmt has nobody to tell either

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler, which encoding/json uses too.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// SecretSource is where a client secret is from: a [Secret] itself, or a
// [SecretFile]. It is asked for each request, by several goroutines at once.
type SecretSource interface {
	// ReadSecret returns the secret as it is now. ctx is for waiting only.
	ReadSecret(ctx context.Context) (Secret, error)
}

// ReadSecret implements [SecretSource].
func (s Secret) ReadSecret(context.Context) (Secret, error) { return s, nil }

// SecretFile is a file with a secret, as Kubernetes and Vault agents write them. It
// is read for each request that needs it, so a secret that is replaced counts from
// the next request on. White space at the end is not part of the secret. It must
// be a regular file, 64 KiB at most.
type SecretFile string

const maxSecretFile = 64 << 10

// ReadSecret implements [SecretSource].
func (f SecretFile) ReadSecret(context.Context) (Secret, error) {
	data, err := regularfile.Read(string(f), maxSecretFile)
	if err != nil {
		return Secret{}, fmt.Errorf("secret file %w", err)
	}
	text := strings.TrimRight(string(data), " \t\r\n")
	if text == "" {
		return Secret{}, fmt.Errorf("secret file %s: is empty: write the secret there", f)
	}
	return NewSecret(text), nil
}
