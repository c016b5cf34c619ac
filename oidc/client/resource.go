package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/claimgate/claimgate/oidc"
)

// Resource is what a protected resource says of itself (RFC 9728 section 2): which
// providers' tokens it takes, and how. Members that are absent, or not of the type
// that the standard gives them, are zero. Treat it as read-only.
type Resource struct {
	Resource             string   // its identifier: the resource or audience to ask tokens for
	AuthorizationServers []string // issuers; which of them to trust is the client's to say
	Scopes               []string
	BearerMethods        []string // "header", and others that nobody should use
	DPoPAlgorithms       []string
	DPoPRequired         bool // tokens are taken with a proof only
	CertificateBound     bool // tokens that are bound to a client certificate are taken
	Name                 string
	Documentation        string

	// Raw is the whole document.
	Raw json.RawMessage
}

// ResourceConfig says how a resource's metadata is reached. The zero ResourceConfig
// is good for resources on the web.
type ResourceConfig struct {
	// MetadataURL is where the metadata is: what [ResourceMetadataURL] found in a
	// challenge. "" is the place where the standard puts it.
	MetadataURL string
	// HTTP, HTTPClient and Insecure are as in [Config].
	HTTP       oidc.HTTPConfig
	HTTPClient *http.Client
	Insecure   bool
}

// ResourceEndpoint names a resource's metadata in errors and events.
const ResourceEndpoint Endpoint = "oauth-protected-resource"

// DiscoverResource fetches the metadata of a resource, whose identifier is the URL
// that is called (RFC 9728 section 3). Metadata of any other resource is refused,
// also if a challenge named it (section 3.3): otherwise a resource could have a
// client ask for tokens that are good elsewhere.
//
// The authorization servers are the resource's word. A client that sends users or
// secrets there compares them with those that it knows.
func DiscoverResource(ctx context.Context, resource string, cfg ResourceConfig) (*Resource, error) {
	where := cfg.MetadataURL
	if where == "" {
		var err error
		if where, err = wellKnownResource(resource); err != nil {
			return nil, err
		}
	}
	c, err := New(Config{
		Metadata: &Metadata{}, ClientID: "nobody", Auth: None{}, // neither is ever sent
		HTTP: cfg.HTTP, HTTPClient: cfg.HTTPClient, Insecure: cfg.Insecure,
	})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	what := request{endpoint: ResourceEndpoint, method: http.MethodGet}
	if err := oidc.CheckFetchURL(where, cfg.Insecure); err != nil {
		return nil, fmt.Errorf("client: the URL of the resource's metadata is %w", err)
	}
	if what.url, err = url.Parse(where); err != nil {
		return nil, fmt.Errorf("client: the URL of the resource's metadata is not a URL")
	}
	a, err := c.do(ctx, what)
	if err != nil {
		return nil, err
	}
	object, err := a.object()
	if err != nil {
		return nil, err
	}
	r := readResource(object)
	if r.Resource != resource {
		return nil, refused(ResourceEndpoint, "the metadata is of another resource than the one that is called (RFC 9728 section 3.3)")
	}
	return r, nil
}

// wellKnownResource puts the well-known path between a resource's host and path
// (RFC 9728 section 3.1).
func wellKnownResource(resource string) (string, error) {
	u, err := url.Parse(resource)
	if err != nil || u.Host == "" || u.User != nil || strings.Contains(resource, "#") {
		return "", fmt.Errorf("client: the resource is no absolute URL without user and fragment")
	}
	path := u.EscapedPath()
	if path == "/" {
		path = ""
	}
	where := u.Scheme + "://" + u.Host + "/.well-known/oauth-protected-resource" + path
	if u.RawQuery != "" {
		where += "?" + u.RawQuery
	}
	return where, nil
}

// readResource takes from a document what is of the right type.
func readResource(object oidc.Value) *Resource {
	r := &Resource{Raw: json.RawMessage(object.Raw())}
	texts := map[string]*string{"resource": &r.Resource, "resource_name": &r.Name, "resource_documentation": &r.Documentation}
	lists := map[string]*[]string{
		"authorization_servers": &r.AuthorizationServers, "scopes_supported": &r.Scopes,
		"bearer_methods_supported": &r.BearerMethods, "dpop_signing_alg_values_supported": &r.DPoPAlgorithms,
	}
	flags := map[string]*bool{"dpop_bound_access_tokens_required": &r.DPoPRequired, "tls_client_certificate_bound_access_tokens": &r.CertificateBound}
	for name, value := range object.Members() {
		if p := texts[name]; p != nil && value.Kind() == oidc.KindString {
			*p = value.Text()
		}
		if p := lists[name]; p != nil {
			*p, _ = value.Strings()
		}
		if p := flags[name]; p != nil {
			*p = value.Bool()
		}
	}
	return r
}

// ResourceMetadataURL returns the URL that a resource names in the challenge of a 401
// (RFC 9728 section 5.1), "" if there is none.
func ResourceMetadataURL(h http.Header) string {
	for _, challenge := range h.Values("WWW-Authenticate") {
		if u := challengeParameter(challenge, "resource_metadata"); u != "" {
			return u
		}
	}
	return ""
}
