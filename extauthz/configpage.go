package extauthz

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"go.yaml.in/yaml/v4"
)

// encodeConfig writes the configuration with its defaults as YAML that can be
// loaded again. A file holds no secrets, only the names of files that do; the
// values in a URL's query, where people put keys all the same, are not shown.
func encodeConfig(cfg *Config) ([]byte, error) {
	data, err := json.Marshal(cfg.withoutQueries())
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	root, err := yamlNode(d)
	if err != nil {
		return nil, err
	}
	return yaml.Dump(root, yaml.WithIndent(2), yaml.WithLineWidth(-1))
}

// yamlNode reads one JSON value, with members in their order.
func yamlNode(d *json.Decoder) (*yaml.Node, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	node := &yaml.Node{Kind: yaml.ScalarNode}
	switch v := token.(type) {
	case json.Delim:
		node.Kind, node.Tag = yaml.MappingNode, "!!map"
		if v == '[' {
			node.Kind, node.Tag = yaml.SequenceNode, "!!seq"
		}
		for d.More() { // in an object a name, then its value
			child, err := yamlNode(d)
			if err != nil {
				return nil, err
			}
			node.Content = append(node.Content, child)
		}
		if _, err := d.Token(); err != nil {
			return nil, err
		}
	case string:
		node.Tag, node.Value = "!!str", v
	case bool:
		node.Tag, node.Value = "!!bool", fmt.Sprint(v)
	case json.Number:
		node.Tag, node.Value = "!!float", v.String()
		if !strings.ContainsAny(node.Value, ".eE") {
			node.Tag = "!!int"
		}
	default:
		node.Tag, node.Value = "!!null", "null"
	}
	return node, nil
}

// withoutQueries is c with REDACTED for what stands in queries of its URLs.
func (c *Config) withoutQueries() *Config {
	shown := *c
	shown.Issuers = append([]IssuerConfig(nil), c.Issuers...)
	for i := range shown.Issuers {
		issuer := &shown.Issuers[i]
		for _, field := range []*string{&issuer.JWKSURL, &issuer.DiscoveryURL, &issuer.HTTP.ProxyURL} {
			*field = withoutQuery(*field)
		}
	}
	return &shown
}

// withoutQuery keeps the names in the query of a URL, not the values.
func withoutQuery(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.RawQuery == "" {
		return raw
	}
	parts := strings.Split(u.RawQuery, "&")
	for i, part := range parts {
		name, _, found := strings.Cut(part, "=")
		if !found { // nobody knows what it is
			name = "REDACTED"
		} else {
			name += "=REDACTED"
		}
		parts[i] = name
	}
	u.RawQuery = strings.Join(parts, "&")
	return u.String()
}
