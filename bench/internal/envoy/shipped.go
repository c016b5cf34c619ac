package envoy

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v4"

	envoyconfig "github.com/claimgate/claimgate/envoy-config"
)

// object is a mapping of a file of Envoy's.
type object = map[string]any

// shortTimeout is a time-out of less than a second; Envoy takes max_interval for one.
var shortTimeout = regexp.MustCompile(`\b((?:connect_)?timeout|max_interval): 0\.\d+s\b`)

// Shipped is the shipped envoy.yaml with one upstream for all routes, and other
// addresses for the gate. Its listener is called "edge". All else is as it stands
// there; but if patient, what is shorter than a second is 10 s, for machines that
// are busy with something else.
func Shipped(gates Endpoints, upstream string, patient bool) ([]byte, error) {
	text := envoyconfig.Envoy
	if patient {
		text = shortTimeout.ReplaceAll(text, []byte("${1}: 10s"))
	}
	var file object
	if err := yaml.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("envoy.yaml: %w", err)
	}
	static, _ := file["static_resources"].(object)
	listeners, _ := static["listeners"].([]any)
	clusters, _ := static["clusters"].([]any)
	if len(listeners) != 1 || len(clusters) != 3 {
		return nil, errors.New("envoy.yaml has not one listener and three clusters any more")
	}
	edge, _ := listeners[0].(object)
	edge["address"] = address("127.0.0.1:0")
	for _, c := range clusters {
		cluster, _ := c.(object)
		if cluster["name"] == "claimgate" {
			gates.put(cluster)
		} else {
			Static(upstream).put(cluster)
		}
	}
	file["admin"] = object{"address": address("127.0.0.1:0")}
	return json.Marshal(file)
}

// Endpoints are where a cluster's servers are.
type Endpoints struct {
	addresses []string
	file      string
}

// Static are endpoints that stay: host:port, or the path of a socket.
func Static(addresses ...string) Endpoints { return Endpoints{addresses: addresses} }

// InFile are endpoints that change: Envoy follows a file that [EndpointsFile] makes,
// as it follows the addresses of a headless service.
func InFile(path string) Endpoints { return Endpoints{file: path} }

func (e Endpoints) put(cluster object) {
	name, _ := cluster["name"].(string)
	delete(cluster, "load_assignment")
	if e.file == "" {
		cluster["type"] = "STATIC"
		cluster["load_assignment"] = assignment(name, e.addresses)
		return
	}
	cluster["type"] = "EDS"
	cluster["eds_cluster_config"] = object{"eds_config": object{
		"resource_api_version": "V3", "path_config_source": object{"path": e.file},
	}}
}

// EndpointsFile is the content of the file of [InFile] for a cluster.
func EndpointsFile(cluster string, addresses ...string) ([]byte, error) {
	resource := assignment(cluster, addresses)
	resource["@type"] = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	return json.Marshal(object{"resources": []any{resource}})
}

func assignment(cluster string, addresses []string) object {
	var list []any
	for _, a := range addresses {
		list = append(list, object{"endpoint": object{"address": address(a)}})
	}
	return object{"cluster_name": cluster, "endpoints": []any{object{"lb_endpoints": list}}}
}

func address(of string) object {
	if of[0] == '/' {
		return object{"pipe": object{"path": of}}
	}
	host, port, _ := net.SplitHostPort(of)
	n, _ := strconv.Atoi(port)
	return object{"socket_address": object{"address": host, "port_value": n}}
}
