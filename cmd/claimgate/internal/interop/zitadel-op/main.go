// Zitadel-op is the OpenID provider of zitadel's Go library with the storage of its
// example. That one has opaque access tokens, no roles and one key; what Zitadel itself
// does there is added: access tokens that are JWTs, an audience for each project that a
// scope names, the object of roles, and keys that change.
//
// Variables: PORT on loopback, KEYS a file with a set of private JWKs, which is read
// each time; the first key signs.
package main

import (
	"context"
	"encoding/json"
	"log"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

func main() {
	address := "127.0.0.1:" + os.Getenv("PORT")
	issuer := "http://" + address
	storage.RegisterClients(storage.WebClient("shop", "shop-secret", "http://127.0.0.1/callback"))
	p := &provider{Storage: storage.NewStorage(storage.NewUserStore(issuer)), keys: os.Getenv("KEYS")}
	handler := exampleop.SetupServer(issuer, p, slog.New(slog.NewTextHandler(os.Stderr, nil)), false)
	server := &http.Server{Addr: address, Handler: handler, ReadHeaderTimeout: time.Minute}
	log.Fatal(server.ListenAndServe())
}

type provider struct {
	*storage.Storage
	keys string
}

// client is the example's one service user under another name.
type client struct {
	op.Client
	id string
}

func (c client) GetID() string { return c.id }

// AccessTokenType is JWT but for the client opaque.
func (c client) AccessTokenType() op.AccessTokenType {
	if c.id == "opaque" {
		return op.AccessTokenTypeBearer
	}
	return op.AccessTokenTypeJWT
}

func (p *provider) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	example, err := p.Storage.ClientCredentials(ctx, "sid1", secret)
	return client{example, id}, err
}

// ClientCredentialsTokenRequest adds the project of a scope to the audience.
func (p *provider) ClientCredentialsTokenRequest(_ context.Context, id string, scopes []string) (op.TokenRequest, error) {
	audience := []string{id}
	for _, s := range scopes {
		project, isProject := strings.CutPrefix(s, "urn:zitadel:iam:org:project:id:")
		if project, isAudience := strings.CutSuffix(project, ":aud"); isProject && isAudience {
			audience = append(audience, project)
		}
	}
	return &oidc.JWTTokenRequest{Subject: id, Audience: audience, Scopes: scopes}, nil
}

// CreateAccessToken gives the client hasty tokens that last a second.
func (p *provider) CreateAccessToken(ctx context.Context, r op.TokenRequest) (string, time.Time, error) {
	id, expires, err := p.Storage.CreateAccessToken(ctx, r)
	if r.GetSubject() == "hasty" {
		expires = time.Now().Add(time.Second)
	}
	return id, expires, err
}

// GetPrivateClaimsFromScopes grants two roles, each by an organisation.
func (p *provider) GetPrivateClaimsFromScopes(context.Context, string, string, []string) (map[string]any, error) {
	by := map[string]string{"188265446283776001": "shop.example.com"}
	return map[string]any{"urn:zitadel:iam:org:project:roles": map[string]any{"driver": by, "packer": by}}, nil
}

// key is one of the file, publicKey what of it is published.
type (
	key       struct{ jose.JSONWebKey }
	publicKey struct{ key }
)

func (k key) ID() string { return k.KeyID }
func (k key) Key() any   { return k.JSONWebKey.Key }
func (k key) SignatureAlgorithm() jose.SignatureAlgorithm {
	return jose.SignatureAlgorithm(k.JSONWebKey.Algorithm)
}

func (k publicKey) Key() any                           { return k.JSONWebKey.Public().Key }
func (k publicKey) Algorithm() jose.SignatureAlgorithm { return k.SignatureAlgorithm() }
func (k publicKey) Use() string                        { return k.JSONWebKey.Use }

func (p *provider) readKeys() ([]jose.JSONWebKey, error) {
	b, err := os.ReadFile(p.keys)
	if err != nil {
		return nil, err
	}
	var set jose.JSONWebKeySet
	err = json.Unmarshal(b, &set)
	return set.Keys, err
}

func (p *provider) SigningKey(context.Context) (op.SigningKey, error) {
	keys, err := p.readKeys()
	if err != nil {
		return nil, err
	}
	return key{keys[0]}, nil
}

func (p *provider) KeySet(context.Context) ([]op.Key, error) {
	keys, err := p.readKeys()
	var list []op.Key
	for _, k := range keys {
		list = append(list, publicKey{key{k}})
	}
	return list, err
}
