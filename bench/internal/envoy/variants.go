package envoy

import (
	"encoding/json"
	"errors"
	"fmt"

	"go.yaml.in/yaml/v4"

	envoyconfig "github.com/claimgate/claimgate/envoy-config"
)

// Filter is what stands between a listener and an answer of Envoy's own, 200 and
// empty. The zero value is nothing.
type Filter struct {
	jwt      *JWTAuthn
	extAuthz string // address of the server
	joined   bool   // it gets the map of headers, in which those of one name are joined
}

// JWTAuthn says what Envoy's own filter for tokens checks.
type JWTAuthn struct {
	Issuer, Audience string
	KeySet           string // JWKS
	Cache            bool   // of verified tokens
}

// WithJWTAuthn is Envoy's own filter, which sends the subject on in x-auth-subject.
func WithJWTAuthn(j JWTAuthn) Filter { return Filter{jwt: &j} }

// WithExtAuthz is the ext_authz filter and the cluster of the shipped envoy.yaml, to
// a server at host:port or at the path of a socket. What is shorter than a second in
// it is 10 s, so that a stall of the machine is seen in the latencies.
func WithExtAuthz(server string) Filter { return Filter{extAuthz: server} }

// Joined is the same without encode_raw_headers: many servers read nothing but the
// map of headers that Envoy sends then.
func (f Filter) Joined() Filter {
	f.joined = true
	return f
}

// SideBySide is a configuration with a listener for each of these, by name.
func SideBySide(filters map[string]Filter) ([]byte, error) {
	text := shortTimeout.ReplaceAll(envoyconfig.Envoy, []byte("${1}: 10s"))
	var listeners, clusters []any
	for name, f := range filters {
		var before []any
		switch {
		case f.jwt != nil:
			before = []any{f.jwt.filter()}
		case f.extAuthz != "":
			filter, cluster, err := shippedExtAuthz(text, "to "+name)
			if err != nil {
				return nil, err
			}
			Static(f.extAuthz).put(cluster)
			if f.joined {
				delete(filter["typed_config"].(object), "encode_raw_headers")
			}
			before, clusters = []any{filter}, append(clusters, cluster)
		}
		listeners = append(listeners, listener(name, before))
	}
	return json.Marshal(object{
		"static_resources": object{"listeners": listeners, "clusters": clusters},
		"admin":            object{"address": address("127.0.0.1:0")},
	})
}

const typePrefix = "type.googleapis.com/envoy.extensions.filters."

func listener(name string, before []any) object {
	return object{"name": name, "address": address("127.0.0.1:0"), "filter_chains": []any{object{"filters": []any{object{
		"name": "envoy.filters.network.http_connection_manager",
		"typed_config": object{
			"@type":       typePrefix + "network.http_connection_manager.v3.HttpConnectionManager",
			"stat_prefix": "bench",
			"http_filters": append(before, object{
				"name": "envoy.filters.http.router", "typed_config": object{"@type": typePrefix + "http.router.v3.Router"},
			}),
			"route_config": object{"virtual_hosts": []any{object{
				"name": "all", "domains": []any{"*"},
				"routes": []any{object{"match": object{"prefix": "/"}, "direct_response": object{"status": 200}}},
			}}},
		},
	}}}}}
}

func (j *JWTAuthn) filter() object {
	provider := object{
		"issuer": j.Issuer, "audiences": []any{j.Audience}, "forward": true,
		"local_jwks":       object{"inline_string": j.KeySet},
		"claim_to_headers": []any{object{"header_name": "x-auth-subject", "claim_name": "sub"}},
	}
	if j.Cache {
		provider["jwt_cache_config"] = object{"jwt_cache_size": 1000}
	}
	return object{"name": "envoy.filters.http.jwt_authn", "typed_config": object{
		"@type":     typePrefix + "http.jwt_authn.v3.JwtAuthentication",
		"providers": object{"bench": provider},
		"rules":     []any{object{"match": object{"prefix": "/"}, "requires": object{"provider_name": "bench"}}},
	}}
}

// shippedExtAuthz takes the filter and its cluster out of envoy.yaml, for a cluster
// of another name.
func shippedExtAuthz(text []byte, clusterName string) (filter, cluster object, err error) {
	var file struct {
		StaticResources struct {
			Listeners []struct {
				FilterChains []struct {
					Filters []struct {
						TypedConfig struct {
							HTTPFilters []object `yaml:"http_filters"`
						} `yaml:"typed_config"`
					} `yaml:"filters"`
				} `yaml:"filter_chains"`
			} `yaml:"listeners"`
			Clusters []object `yaml:"clusters"`
		} `yaml:"static_resources"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		return nil, nil, fmt.Errorf("envoy.yaml: %w", err)
	}
	for _, l := range file.StaticResources.Listeners {
		for _, chain := range l.FilterChains {
			for _, f := range chain.Filters {
				for _, h := range f.TypedConfig.HTTPFilters {
					if h["name"] == "envoy.filters.http.ext_authz" {
						filter = h
					}
				}
			}
		}
	}
	for _, c := range file.StaticResources.Clusters {
		if c["name"] == "claimgate" {
			cluster = c
		}
	}
	config, _ := filter["typed_config"].(object)
	service, _ := config["grpc_service"].(object)
	envoyGRPC, _ := service["envoy_grpc"].(object)
	if envoyGRPC == nil || cluster == nil {
		return nil, nil, errors.New("envoy.yaml has no ext_authz filter or no cluster claimgate any more")
	}
	envoyGRPC["cluster_name"], cluster["name"] = clusterName, clusterName
	return filter, cluster, nil
}
