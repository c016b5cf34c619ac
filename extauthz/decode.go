package extauthz

import (
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
)

// decode turns a CheckRequest into a Request. It returns false if there are no
// HTTP attributes, as for a TCP listener.
//
// Nothing that a client can choose steers the gate but what Envoy itself acts
// on: x-forwarded-*, x-original-* and method overrides are ordinary headers.
func decode(req *authv3.CheckRequest) (Request, bool) {
	attributes := req.GetAttributes()
	http := attributes.GetRequest().GetHttp()
	if http == nil {
		return Request{}, false
	}
	return Request{
		Method:          http.GetMethod(),
		Host:            http.GetHost(),
		Path:            http.GetPath(),
		Scheme:          http.GetScheme(),
		Headers:         decodeHeaders(http),
		SourceAddress:   attributes.GetSource().GetAddress().GetSocketAddress().GetAddress(),
		SourcePrincipal: attributes.GetSource().GetPrincipal(),
		Context:         attributes.GetContextExtensions(),
		Routes:          routesOf(attributes.GetRouteMetadataContext()),
		ID:              http.GetId(),
	}, true
}

// decodeHeaders reads either encoding: the map, or with encode_raw_headers the
// list. Envoy never sends both; whoever does gets the two read as one.
func decodeHeaders(http *authv3.AttributeContext_HttpRequest) Headers {
	raw := http.GetHeaderMap().GetHeaders()
	if len(raw) == 0 {
		return newHeaderMap(http.GetHeaders())
	}
	list := make(headerList, 0, len(raw)+len(http.GetHeaders()))
	for _, h := range raw {
		value := h.GetValue()
		if bytes := h.GetRawValue(); len(bytes) > 0 {
			value = string(bytes)
		}
		list = append(list, Header{h.GetKey(), value})
	}
	for name, value := range http.GetHeaders() {
		list = append(list, Header{name, value})
	}
	return list
}

// headerMap is Envoy's default encoding: one entry a name, values joined.
type headerMap struct {
	values map[string]string
	// folded says that a name has an upper-case letter. Envoy sends none, and
	// without one a look-up is enough.
	folded bool
}

func newHeaderMap(values map[string]string) *headerMap {
	m := &headerMap{values: values}
	for name := range values {
		if strings.ToLower(name) != name {
			m.folded = true
			break
		}
	}
	return m
}

// Get implements Headers.
func (m *headerMap) Get(name string) (string, int) {
	if !m.folded {
		value, ok := m.values[name]
		if !ok {
			return "", 0
		}
		return value, 1
	}
	var found []string
	for n, v := range m.values {
		if strings.ToLower(n) == name {
			found = append(found, v)
		}
	}
	slices.Sort(found) // a map has no order, and a verdict must not depend on one
	return strings.Join(found, ","), len(found)
}

// Names implements Headers.
func (m *headerMap) Names(yield func(string) bool) {
	for name := range m.values {
		if !yield(name) {
			return
		}
	}
}

// Where Envoy Gateway writes what a route was made of.
const (
	routeMetadataNamespace = "envoy-gateway"
	routeResourcesKey      = "resources"
	routeKindKey           = "kind"
	routeNamespaceKey      = "namespace"
	routeNameKey           = "name"
)

// maxRoutes is far more than Envoy Gateway names: it makes a route of one object.
const maxRoutes = 16

// routesOf reads a route's metadata. If any of it is not as Envoy Gateway writes
// it, the request has no route: half of a list would be a guess.
func routesOf(metadata *corev3.Metadata) []Route {
	resources := metadata.GetFilterMetadata()[routeMetadataNamespace].GetFields()[routeResourcesKey].GetListValue().GetValues()
	if len(resources) == 0 || len(resources) > maxRoutes {
		return nil
	}
	routes := make([]Route, 0, len(resources))
	for _, resource := range resources {
		fields := resource.GetStructValue().GetFields()
		r := Route{
			Kind:      fields[routeKindKey].GetStringValue(),
			Namespace: fields[routeNamespaceKey].GetStringValue(),
			Name:      fields[routeNameKey].GetStringValue(),
		}
		if !r.whole() {
			return nil
		}
		routes = append(routes, r)
	}
	return routes
}
