package lab

import (
	"fmt"
	"net"

	"go.yaml.in/yaml/v4"

	envoyconfig "github.com/claimgate/claimgate/envoy-config"
)

// Addresses are the five socket addresses of envoy.yaml, as host:port.
type Addresses struct {
	Edge, Admin, Gate, Workforce, Customers string
}

// Rewire returns the shipped envoy.yaml with other addresses, and otherwise as
// it stands. It fails unless the file holds exactly the five addresses that it
// is known to hold, so that an edited file cannot slip by.
func Rewire(to Addresses, rawHeaders bool) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Load(envoyconfig.Envoy, &doc); err != nil {
		return nil, fmt.Errorf("envoy.yaml: %w", err)
	}
	moves := map[string]string{
		"127.0.0.1:8080": to.Edge,
		"127.0.0.1:9901": to.Admin,
		"127.0.0.1:9191": to.Gate,
		"127.0.0.1:8081": to.Workforce,
		"127.0.0.1:8082": to.Customers,
	}
	raw := 0
	err := walk(&doc, func(key string, value *yaml.Node) error {
		switch key {
		case "socket_address":
			return move(value, moves)
		case "encode_raw_headers":
			raw++
			value.Value = fmt.Sprint(rawHeaders)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(moves) != 0 || raw != 1 {
		return nil, fmt.Errorf("envoy.yaml: %d known addresses were not found, encode_raw_headers was found %d times", len(moves), raw)
	}
	return yaml.Dump(&doc)
}

// move replaces one address and crosses it off the list.
func move(socket *yaml.Node, moves map[string]string) error {
	address, port := member(socket, "address"), member(socket, "port_value")
	if address == nil || port == nil {
		return fmt.Errorf("envoy.yaml:%d: a socket_address without address or port_value", socket.Line)
	}
	from := net.JoinHostPort(address.Value, port.Value)
	to, known := moves[from]
	if !known {
		return fmt.Errorf("envoy.yaml:%d: unknown or repeated address %s", socket.Line, from)
	}
	delete(moves, from)
	host, number, err := net.SplitHostPort(to)
	if err != nil {
		return err
	}
	address.Value, port.Value = host, number
	return nil
}

// walk calls visit for each member of each mapping.
func walk(n *yaml.Node, visit func(key string, value *yaml.Node) error) error {
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if err := visit(n.Content[i].Value, n.Content[i+1]); err != nil {
				return err
			}
		}
	}
	for _, child := range n.Content {
		if err := walk(child, visit); err != nil {
			return err
		}
	}
	return nil
}

func member(mapping *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}
