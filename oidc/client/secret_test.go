package client_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/claimgate/claimgate/oidc/client"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// Nothing prints a secret, wherever in a value it stands.
func TestSecretsAreNotPrinted(t *testing.T) {
	const text = "hunter2-hunter2"
	s := client.NewSecret(text)
	key := oidctest.NewKey("ES256", "k")
	provider := start(t)
	answer, err := open(t, provider, nil).ClientCredentials(t.Context(), client.TokenParams{})
	if err != nil {
		t.Fatal(err)
	}
	type hidden struct{ s client.Secret }
	type shown struct {
		S client.Secret
		P *client.Secret
		M map[string]client.Secret
	}
	values := []any{
		s, &s, hidden{s}, &hidden{s}, shown{s, &s, map[string]client.Secret{"a": s}}, []client.Secret{s},
		client.ClientSecretBasic{Secret: s}, client.ClientSecretJWT{Secret: s}, client.Config{Auth: client.ClientSecretPost{Secret: s}},
		client.PrivateKeyJWT{Key: signingKey(key)}, signingKey(key), answer, *answer,
	}
	private := fmt.Sprintf("%v", key.Signer())
	forbidden := []string{text, fmt.Sprintf("%x", text), answer.AccessToken.Reveal(), string(answer.Raw()), private[len(private)-20:]}
	for _, v := range values {
		var out bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10.3s"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(h).Info("a line", "v", v, slog.Group("g", "v", v))
		}
		if b, err := json.Marshal(v); err == nil {
			out.Write(b)
		}
		for _, f := range forbidden {
			if strings.Contains(out.String(), f) {
				t.Errorf("%T is printed: %s", v, out.String())
			}
		}
	}
	if s.Reveal() != text || !s.Equal(client.NewSecret(text)) || s.Equal(client.Secret{}) || s.IsZero() || !(client.Secret{}).IsZero() {
		t.Error("the secret is not what it was made of")
	}
}
