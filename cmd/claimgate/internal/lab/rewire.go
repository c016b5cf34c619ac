package lab

import (
	"fmt"
	"net"

	"go.yaml.in/yaml/v4"
)

// Addresses are where the parts of a shipped file are, as host:port. Gate may be
// the path of a socket instead.
type Addresses struct {
	Edge, Admin, Gate, Workforce, Customers string
	Issuer                                  string // of the workforce, where its keys are fetched
}

// Rewire returns a shipped file with other addresses, and otherwise as it
// stands. It fails if the file names an address that is not known, names one
// twice, or lacks the listener, the admin port or the gate, so that an edited
// file cannot slip by.
func Rewire(config []byte, to Addresses, rawHeaders bool) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Load(config, &doc); err != nil {
		return nil, fmt.Errorf("Envoy's file: %w", err)
	}
	m := moves{to: map[string]string{
		"edge": to.Edge, "admin": to.Admin, "gate": to.Gate, "workforce": to.Workforce, "customers": to.Customers,
		"issuer": to.Issuer,
	}, met: map[string]bool{}}
	raw := 0
	err := walk(&doc, func(key string, value *yaml.Node) error {
		switch key {
		case "socket_address":
			return m.socketAddress(value)
		case "pipe":
			return m.pipe(value)
		case "encode_raw_headers":
			raw++
			value.Value = fmt.Sprint(rawHeaders)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, must := range []string{"edge", "admin", "gate"} {
		if !m.met[must] {
			return nil, fmt.Errorf("Envoy's file lacks the address of the %s", must)
		}
	}
	if raw != 1 {
		return nil, fmt.Errorf("Envoy's file has encode_raw_headers %d times, not once", raw)
	}
	return yaml.Dump(&doc)
}

// places are the addresses of the shipped files, and what listens there.
var places = map[string]string{
	"127.0.0.1:8080": "edge", "0.0.0.0:8080": "edge",
	"127.0.0.1:9901":           "admin",
	"127.0.0.1:9191":           "gate",
	"/run/claimgate/gate.sock": "gate",
	"127.0.0.1:8081":           "workforce",
	"127.0.0.1:8082":           "customers",
	"login.example.com:443":    "issuer",
}

// moves are the new addresses by place, and the places that were met.
type moves struct {
	to  map[string]string
	met map[string]bool
}

// socketAddress replaces a host and its port.
func (m moves) socketAddress(socket *yaml.Node) error {
	host, port := member(socket, "address"), member(socket, "port_value")
	if host == nil || port == nil {
		return fmt.Errorf("Envoy's file, line %d: a socket_address without address or port_value", socket.Line)
	}
	to, err := m.move(net.JoinHostPort(host.Value, port.Value), socket.Line)
	if err != nil {
		return err
	}
	host.Value, port.Value, err = net.SplitHostPort(to)
	return err
}

// pipe replaces the path of a Unix socket.
func (m moves) pipe(pipe *yaml.Node) (err error) {
	path := member(pipe, "path")
	if path == nil {
		return fmt.Errorf("Envoy's file, line %d: a pipe without path", pipe.Line)
	}
	path.Value, err = m.move(path.Value, pipe.Line)
	return err
}

// move returns where the thing at an address is now.
func (m moves) move(from string, line int) (string, error) {
	place, known := places[from]
	if !known || m.met[place] {
		return "", fmt.Errorf("Envoy's file, line %d: unknown or repeated address %s", line, from)
	}
	m.met[place] = true
	return m.to[place], nil
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
