package oidctest

import (
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// SetInitialAccessToken wants this token of those who register clients (RFC 7591
// section 3); "" lets everybody.
func (i *Issuer) SetInitialAccessToken(token string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.state.initialAccessToken = token
}

// registered is a client that has registered itself.
type registered struct {
	metadata    map[string]any
	accessToken string
}

// serveRegistration is the registration endpoint (RFC 7591) and, with a client's
// identifier as query, the one to manage a client (RFC 7592). Each use of an access
// token gives a new one.
func (i *Issuer) serveRegistration(w http.ResponseWriter, r *http.Request) {
	bearer := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	id := r.URL.Query().Get("client_id")
	i.mu.Lock()
	reg, wanted := i.state.registered[id], i.state.initialAccessToken
	i.mu.Unlock()
	if id != "" && reg == nil || id == "" && wanted != "" && bearer != wanted || reg != nil && bearer != reg.accessToken {
		(&Refusal{Status: http.StatusUnauthorized, Code: "invalid_token"}).write(w)
		return
	}
	status := http.StatusOK
	switch {
	case id == "" && r.Method == http.MethodPost:
		id, status = "client-"+rand.Text()[:8], http.StatusCreated
		reg = &registered{}
		fallthrough
	case reg != nil && r.Method == http.MethodPut:
		metadata, refusal := i.clientMetadata(r, id, reg.metadata)
		if refusal != nil {
			refusal.write(w)
			return
		}
		i.register(id, reg, metadata)
	case reg != nil && r.Method == http.MethodGet:
		i.register(id, reg, reg.metadata)
	case reg != nil && r.Method == http.MethodDelete:
		i.mu.Lock()
		delete(i.state.registered, id)
		delete(i.state.clients, id)
		i.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
		return
	default:
		(&Refusal{Status: http.StatusMethodNotAllowed, Code: "invalid_request"}).write(w)
		return
	}
	i.mu.Lock()
	answer := maps.Clone(reg.metadata)
	answer["registration_access_token"] = reg.accessToken
	i.mu.Unlock()
	answer["registration_client_uri"] = i.URLOf(Registration) + "?client_id=" + id
	writeJSON(w, status, answer)
}

// clientMetadata reads what a client wants to be. before is nil for a new one.
func (i *Issuer) clientMetadata(r *http.Request, id string, before map[string]any) (map[string]any, *Refusal) {
	var metadata map[string]any
	if r.Header.Get("Content-Type") != "application/json" || json.NewDecoder(http.MaxBytesReader(nil, r.Body, 1<<20)).Decode(&metadata) != nil {
		return nil, &Refusal{Code: "invalid_client_metadata", Description: "no JSON object"}
	}
	if before != nil && (metadata["client_id"] != id || metadata["client_secret"] != before["client_secret"]) {
		return nil, &Refusal{Code: "invalid_client_metadata", Description: "client_id or client_secret is not the client's"}
	}
	method := text(metadata, "token_endpoint_auth_method")
	if method == "" {
		method = "client_secret_basic"
		metadata["token_endpoint_auth_method"] = method
	}
	if !slices.Contains(authMethods, method) {
		return nil, &Refusal{Code: "invalid_client_metadata", Description: "token_endpoint_auth_method"}
	}
	metadata["client_id"] = id
	if strings.HasPrefix(method, "client_secret") {
		metadata["client_secret"] = "secret-" + rand.Text() + rand.Text()
		metadata["client_secret_expires_at"] = 0
	}
	return metadata, nil
}

// register makes a client of metadata.
func (i *Issuer) register(id string, reg *registered, metadata map[string]any) {
	client := Client{ID: id, Method: text(metadata, "token_endpoint_auth_method"), Secret: text(metadata, "client_secret")}
	list, _ := metadata["redirect_uris"].([]any)
	for _, uri := range list {
		s, _ := uri.(string)
		client.RedirectURIs = append(client.RedirectURIs, s)
	}
	i.RegisterClient(client)
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.state.registered == nil {
		i.state.registered = map[string]*registered{}
	}
	reg.metadata, reg.accessToken = metadata, "manage-"+rand.Text()
	i.state.registered[id] = reg
}
