package middleware_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"

	"github.com/claimgate/claimgate/oidc/middleware"
)

// One certificate, or none: what is not certain to be the client's is not.
func TestCertificatesFromATrustedHop(t *testing.T) {
	sum := sha256.Sum256([]byte("DER"))
	hash := hex.EncodeToString(sum[:])
	for _, tt := range []struct {
		read   func(http.Header) []byte
		header string
		values []string
		ok     bool
	}{
		{middleware.XFCC, "X-Forwarded-Client-Cert", []string{"Hash=" + hash}, true},
		{middleware.XFCC, "X-Forwarded-Client-Cert", []string{`By=spiffe://a;Hash=` + hash + `;Subject="CN=\"a;b,c\",O=d";URI=spiffe://b`}, true},
		{middleware.XFCC, "X-Forwarded-Client-Cert", []string{"hash=" + strings.ToUpper(hash)}, true},
		{middleware.XFCC, "X-Forwarded-Client-Cert", nil, false},
		{middleware.XFCC, "X-Forwarded-Client-Cert", []string{""}, false},
		{middleware.XFCC, "X-Forwarded-Client-Cert", []string{"Hash=" + hash, "Hash=" + hash}, false},
		{middleware.XFCC, "X-Forwarded-Client-Cert", []string{"Hash=" + hash + ",Hash=" + hash}, false},
		{middleware.XFCC, "X-Forwarded-Client-Cert", []string{"Hash=" + hash + ";Hash=" + hash}, false},
		{middleware.XFCC, "X-Forwarded-Client-Cert", []string{"Hash=" + hash[:62]}, false},
		{middleware.XFCC, "X-Forwarded-Client-Cert", []string{"Hash=" + hash[:63] + "x"}, false},
		{middleware.XFCC, "X-Forwarded-Client-Cert", []string{`Subject="CN=a;Hash=` + hash + `"`}, false},
		{middleware.XFCC, "X-Forwarded-Client-Cert", []string{`Hash=` + hash + `;Subject="CN=a`}, false},
		{middleware.XFCC, "X-Forwarded-Client-Cert", []string{"By=spiffe://a"}, false},
		{middleware.ClientCert, "Client-Cert", []string{":REVS:"}, true},
		{middleware.ClientCert, "Client-Cert", []string{" :REVS: "}, true},
		{middleware.ClientCert, "Client-Cert", nil, false},
		{middleware.ClientCert, "Client-Cert", []string{"REVS"}, false},
		{middleware.ClientCert, "Client-Cert", []string{":REVS"}, false},
		{middleware.ClientCert, "Client-Cert", []string{":"}, false},
		{middleware.ClientCert, "Client-Cert", []string{"::"}, false},
		{middleware.ClientCert, "Client-Cert", []string{":RE!S:"}, false},
		{middleware.ClientCert, "Client-Cert", []string{":REVS:, :REVS:"}, false},
		{middleware.ClientCert, "Client-Cert", []string{":REVS:", ":REVS:"}, false},
	} {
		got := tt.read(http.Header{tt.header: tt.values})
		if (got != nil) != tt.ok || tt.ok && hex.EncodeToString(got) != hash {
			t.Errorf("%s %q: %x", tt.header, tt.values, got)
		}
	}
}
