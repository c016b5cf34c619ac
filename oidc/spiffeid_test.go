package oidc

import (
	"strings"
	"testing"
)

func TestSPIFFEIDsAreReadStrictly(t *testing.T) {
	for _, good := range []struct{ id, domain string }{
		{"spiffe://example.org/shop", "example.org"},
		{"spiffe://example.org/ns/shop/sa/orders", "example.org"},
		{"spiffe://prod_1.example-2.org/A.b-c_d/...", "prod_1.example-2.org"},
		{"spiffe://" + strings.Repeat("a", 255) + "/x", strings.Repeat("a", 255)},
	} {
		if domain, err := spiffeTrustDomain(good.id); err != nil || domain != good.domain {
			t.Errorf("%q: %q, %v", good.id, domain, err)
		}
	}
	for rule, bad := range map[string]string{
		"empty": "", "no scheme": "example.org/shop", "another scheme": "https://example.org/shop", "capitals in the scheme": "SPIFFE://example.org/shop",
		"no trust domain": "spiffe:///shop", "a trust domain alone": "spiffe://example.org", "a slash alone": "spiffe://example.org/",
		"capitals": "spiffe://Example.org/shop", "a port": "spiffe://example.org:8443/shop", "a user": "spiffe://a@example.org/shop",
		"a query": "spiffe://example.org/shop?x", "a fragment": "spiffe://example.org/shop#x", "percent-encoding": "spiffe://example.org/sh%6fp",
		"an empty segment": "spiffe://example.org//shop", "a slash at the end": "spiffe://example.org/shop/", "a dot": "spiffe://example.org/./shop",
		"two dots": "spiffe://example.org/a/../shop", "not ASCII": "spiffe://example.org/shöp", "a space": "spiffe://example.org/shop ",
		"a long trust domain": "spiffe://" + strings.Repeat("a", 256) + "/x", "too long": "spiffe://example.org/" + strings.Repeat("a", 2048),
	} {
		if domain, err := spiffeTrustDomain(bad); err == nil {
			t.Errorf("%s: %q is of the trust domain %q", rule, bad, domain)
		}
	}
}

func TestATrustDomainIsNamedWithOrWithoutItsScheme(t *testing.T) {
	for id, want := range map[string]string{
		"spiffe://example.org": "example.org", "example.org": "example.org", "my-mesh": "my-mesh",
		"https://example.org": "", "spiffe://example.org/": "", "spiffe://example.org/ns": "", "spiffe://": "", "": "", "spiffe://..": "", ".": "",
	} {
		if domain, ok := TrustDomain(id); ok != (want != "") || ok && domain != want {
			t.Errorf("%q: %q, %t", id, domain, ok)
		}
	}
}

// FuzzSPIFFEID: what is accepted is made of its trust domain and a path again,
// and has nothing in it that a URL parser could read in another way.
func FuzzSPIFFEID(f *testing.F) {
	f.Add("spiffe://example.org/ns/shop")
	f.Add("spiffe://EXAMPLE.org:1/a/../b?c#d")
	f.Add("spiffe://../0")
	f.Fuzz(func(t *testing.T, id string) {
		domain, err := spiffeTrustDomain(id)
		if err != nil {
			return
		}
		if !strings.HasPrefix(id, "spiffe://"+domain+"/") || strings.ContainsAny(id, "?#%@ \\") || strings.Contains(id, "/../") || strings.ToLower(domain) != domain {
			t.Fatalf("%q is accepted, of %q", id, domain)
		}
	})
}
