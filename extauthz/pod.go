package extauthz

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/claimgate/claimgate/oidc"
)

// podFiles is where Kubernetes mounts what a pod needs to talk to the API server.
const podFiles = "/var/run/secrets/kubernetes.io/serviceaccount"

// addPodFiles lets an issuer with preset kubernetes be reached as a pod reaches
// the API server: with the cluster's CA and the pod's own token. They are used
// only for the API server's name inside the cluster, since the token belongs
// nowhere else (the issuer of a managed cluster is a public host), and only if
// they are there and nothing else is configured.
func (c *IssuerConfig) addPodFiles(h *oidc.HTTPConfig, dir string) {
	if rules, _ := c.Preset.Rules(); !rules.InCluster || c.JWKSFile != "" || !isAPIServer(c.fetchURL()) {
		return
	}
	add := func(field *string, name string) {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); *field == "" && err == nil {
			*field = path
		}
	}
	add(&h.CAFile, "ca.crt")
	add(&h.BearerTokenFile, "token")
}

// fetchURL is the first URL that is asked on the way to the issuer's keys, "" if
// none is.
func (c *IssuerConfig) fetchURL() string {
	switch {
	case c.JWKSFile != "":
		return ""
	case c.JWKSURL != "":
		return c.JWKSURL
	case c.DiscoveryURL != "":
		return c.DiscoveryURL
	default:
		return c.Issuer
	}
}

// isAPIServer reports whether a URL's host is the name that the API server of a
// cluster has inside of it, whatever the cluster's domain is.
func isAPIServer(rawURL string) bool {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "https" {
		return false
	}
	switch host := strings.ToLower(u.Hostname()); host {
	case "kubernetes", "kubernetes.default", "kubernetes.default.svc":
		return true
	default:
		return strings.HasPrefix(host, "kubernetes.default.svc.")
	}
}
