package oidc

import (
	"errors"
	"strings"
)

// SPIFFE IDs (SPIFFE-ID section 2): spiffe://trust-domain/path. The reading is
// strict, so that one ID has one text: no user, port, query, fragment or
// percent-encoding, no capitals in the trust domain, no empty, "." or ".."
// segment.

const (
	spiffeScheme   = "spiffe://"
	maxTrustDomain = 255
	maxSPIFFEID    = 2048
)

var errSPIFFEID = errors.New("not a SPIFFE ID: spiffe://, a trust domain of a-z, 0-9, dot, - and _, and a path of plain segments")

// spiffeTrustDomain returns the trust domain of a SPIFFE ID of a workload, one
// with a path.
func spiffeTrustDomain(id string) (string, error) {
	rest, ok := strings.CutPrefix(id, spiffeScheme)
	domain, path, hasPath := strings.Cut(rest, "/")
	if !ok || len(id) > maxSPIFFEID || !isTrustDomain(domain) || !hasPath || !isSPIFFEPath(path) {
		return "", errSPIFFEID
	}
	return domain, nil
}

// TrustDomain returns the SPIFFE trust domain that an issuer's identifier names:
// spiffe://example.org, or example.org alone.
func TrustDomain(id string) (string, bool) {
	domain := strings.TrimPrefix(id, spiffeScheme)
	return domain, isTrustDomain(domain)
}

func isTrustDomain(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return s != "" && len(s) <= maxTrustDomain && s != "." && s != ".." // which some would take for a way up
}

// isSPIFFEPath judges a path without its first slash.
func isSPIFFEPath(s string) bool {
	for segment := range strings.SplitSeq(s, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
		for i := range len(segment) {
			c := segment[i]
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}
