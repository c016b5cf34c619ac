package middleware

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/claimgate/claimgate/oidc"
)

// Metadata is what a protected resource says of itself (RFC 9728 section 2).
type Metadata struct {
	// Resource is the resource's identifier: an https URL without query and
	// fragment, http on loopback for tests. Clients compare it with the URL that they
	// asked for. Required.
	Resource string `json:"resource"`
	// AuthorizationServers are the issuers whose tokens are accepted.
	AuthorizationServers []string `json:"authorization_servers,omitempty"`
	// Scopes are those that a client may want to ask for.
	Scopes []string `json:"scopes_supported,omitempty"`
	// Name is for people.
	Name string `json:"resource_name,omitempty"`
	// Documentation is the URL of a page for developers.
	Documentation string `json:"resource_documentation,omitempty"`
	// DPoP are the algorithms that are accepted in DPoP proofs: see
	// dpop.Verifier.Algorithms.
	DPoP []oidc.Algorithm `json:"dpop_signing_alg_values_supported,omitempty"`
	// NoBearer says that tokens are accepted under DPoP only.
	NoBearer bool `json:"dpop_bound_access_tokens_required,omitempty"`
	// CertificateBound says that tokens that are bound to a certificate are
	// accepted (RFC 8705).
	CertificateBound bool `json:"tls_client_certificate_bound_access_tokens,omitempty"`
}

const wellKnownResource = "/.well-known/oauth-protected-resource"

// MetadataHandler serves a resource's metadata. It is immutable; make it with
// [NewMetadata].
type MetadataHandler struct {
	url, path string
	body      []byte
}

// NewMetadata checks m and returns a handler for it. Put it at its Path, without
// a guard, and name its URL in Config.ResourceMetadata.
func NewMetadata(m Metadata) (*MetadataHandler, error) {
	u, err := url.Parse(m.Resource)
	switch {
	case err != nil || u.Host == "":
		return nil, errors.New("middleware: Metadata.Resource is not an absolute URL")
	case u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname())):
		return nil, errors.New("middleware: Metadata.Resource is not an https URL")
	case u.User != nil || strings.ContainsAny(m.Resource, "?#"):
		return nil, errors.New("middleware: Metadata.Resource has a user, a query or a fragment")
	case m.NoBearer && len(m.DPoP) == 0:
		return nil, errors.New("middleware: Metadata.NoBearer without the algorithms of DPoP")
	}
	document := struct {
		Metadata
		Methods []string `json:"bearer_methods_supported,omitempty"`
	}{Metadata: m}
	if !m.NoBearer {
		document.Methods = []string{"header"}
	}
	body, err := json.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("middleware: writing the metadata: %w", err)
	}
	// Before the path, and nothing for a path that is a slash (section 3.1).
	path := wellKnownResource
	if u.EscapedPath() != "/" {
		path += u.EscapedPath()
	}
	return &MetadataHandler{url: u.Scheme + "://" + u.Host + path, path: path, body: body}, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// URL returns where clients find the metadata.
func (h *MetadataHandler) URL() string { return h.url }

// Path returns the path of the URL.
func (h *MetadataHandler) Path() string { return h.path }

// ServeHTTP implements http.Handler.
func (h *MetadataHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "GET or HEAD only", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "max-age=300")
	w.Header().Set("Access-Control-Allow-Origin", "*") // public, and wanted by clients in browsers
	_, _ = w.Write(h.body)                             // a client that is gone needs no answer
}
