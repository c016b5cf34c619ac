package middleware

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"
)

// XFCC is a [Config.CertSHA256] for services behind Envoy: it reads Hash of the
// header x-forwarded-client-cert. Envoy must be told to replace what clients send
// (forward_client_cert_details: SANITIZE_SET), or the header is a claim of the
// client. With several certificates in it, one of each hop, it returns nil: none
// is certain to be the client's.
func XFCC(h http.Header) []byte {
	values := h.Values("X-Forwarded-Client-Cert")
	if len(values) != 1 {
		return nil
	}
	var sum []byte
	quoted := false
	start := 0
	value := values[0] + ";"
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && c == ',':
			return nil
		case !quoted && c == ';':
			name, hash, _ := strings.Cut(value[start:i], "=")
			start = i + 1
			if !strings.EqualFold(name, "Hash") {
				continue
			}
			decoded, err := hex.DecodeString(hash)
			if sum != nil || err != nil || len(decoded) != sha256.Size {
				return nil
			}
			sum = decoded
		}
	}
	if quoted {
		return nil
	}
	return sum
}

// ClientCert is a [Config.CertSHA256] for services behind a proxy that sends the
// client's certificate by RFC 9440, in the header Client-Cert. The proxy must
// replace or remove what clients send.
func ClientCert(h http.Header) []byte {
	values := h.Values("Client-Cert")
	if len(values) != 1 {
		return nil
	}
	// A byte sequence of structured fields (RFC 8941 section 3.3.5).
	text, ok := strings.CutPrefix(strings.Trim(values[0], " "), ":")
	text, ok2 := strings.CutSuffix(text, ":")
	der, err := base64.StdEncoding.DecodeString(text)
	if !ok || !ok2 || err != nil || len(der) == 0 {
		return nil
	}
	sum := sha256.Sum256(der)
	return sum[:]
}
