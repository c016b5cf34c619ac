package extauthz

import (
	"fmt"
	"slices"
	"strings"
)

// Route is the object that Envoy Gateway made a route of. With
// includeRouteMetadata it tells the gate which one a request took; a client
// chooses it by what the route matches, and by nothing else. Routes are compared
// exactly. The zero Route is none.
type Route struct {
	Kind      string // HTTPRoute or GRPCRoute
	Namespace string
	Name      string
}

// String returns KIND/NAMESPACE/NAME.
func (r Route) String() string { return r.Kind + "/" + r.Namespace + "/" + r.Name }

// routeKinds are the kinds of which Envoy Gateway makes routes that are checked.
var routeKinds = []string{"HTTPRoute", "GRPCRoute"}

// ParseRoute reads KIND/NAMESPACE/NAME. It refuses what no Kubernetes object can
// be called.
func ParseRoute(s string) (Route, error) {
	parts := strings.Split(s, "/")
	switch {
	case len(parts) == 4 && strings.Contains(parts[0], "."):
		return Route{}, fmt.Errorf("%s begins with an API group: write KIND/NAMESPACE/NAME alone", quote(s))
	case len(parts) != 3:
		return Route{}, fmt.Errorf("%s is no route: write KIND/NAMESPACE/NAME, as in HTTPRoute/shop/orders", quote(s))
	}
	r := Route{Kind: parts[0], Namespace: parts[1], Name: parts[2]}
	switch {
	case strings.Contains(s, "*"):
		return Route{}, fmt.Errorf("%s: a * stands for nothing here: name each route, or match by hosts and paths", quote(s))
	case !slices.Contains(routeKinds, r.Kind):
		if near := nearest(r.Kind, routeKinds); near != "" {
			return Route{}, fmt.Errorf("%s is no kind of route, did you mean %q?", quote(r.Kind), near)
		}
		return Route{}, fmt.Errorf("%s is no kind of route that asks the gate: there %s", quote(r.Kind), areThese(routeKinds))
	case !isLabel(r.Namespace) || len(r.Namespace) > maxNamespace:
		return Route{}, fmt.Errorf("%s is no namespace: a-z, 0-9 and hyphens make one, %d at most", quote(r.Namespace), maxNamespace)
	case len(r.Name) > maxObjectName || slices.ContainsFunc(strings.Split(r.Name, "."), func(s string) bool { return !isLabel(s) }):
		return Route{}, fmt.Errorf("%s is no name of a route: a-z, 0-9, hyphens and dots make one, %d at most", quote(r.Name), maxObjectName)
	}
	return r, nil
}

const (
	maxNamespace  = 63  // bytes of a DNS label (RFC 1123), which a namespace is
	maxObjectName = 253 // bytes of a DNS name, which a route's is; Kubernetes does not count its labels' bytes
)

// isLabel reports whether s is a DNS label, of any length.
func isLabel(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && (c != '-' || i == 0 || i == len(s)-1) {
			return false
		}
	}
	return s != ""
}

// whole reports whether nothing is missing.
func (r Route) whole() bool { return r.Kind != "" && r.Namespace != "" && r.Name != "" }
