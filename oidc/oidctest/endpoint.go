package oidctest

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Endpoint is one of the documents that an issuer serves.
type Endpoint int

// The endpoints. Other paths are answered 404 and counted as [Elsewhere].
const (
	OpenIDDiscovery Endpoint = iota // ISSUER/.well-known/openid-configuration
	OAuthDiscovery                  // RFC 8414 section 3.1: /.well-known/oauth-authorization-server, then the issuer's path
	JWKS                            // ISSUER/keys
	Elsewhere
	Token               // ISSUER/token: see Issuer.RegisterClient
	Authorization       // ISSUER/authorize: see Issuer.SetLogin
	PAR                 // ISSUER/par: RFC 9126
	DeviceAuthorization // ISSUER/device_authorization (RFC 8628): see Issuer.Approve
	Backchannel         // ISSUER/bc-authorize (CIBA Core 1.0): see Issuer.Approve
	UserInfo            // ISSUER/userinfo: see Issuer.SetUserInfo
	Introspection       // ISSUER/introspect: RFC 7662
	Revocation          // ISSUER/revoke: RFC 7009
	Registration        // ISSUER/register: RFC 7591 and RFC 7592
)

// endpoints are those that have a path.
var endpoints = []Endpoint{OpenIDDiscovery, OAuthDiscovery, JWKS, Token, Authorization, PAR, DeviceAuthorization, Backchannel, UserInfo, Introspection, Revocation, Registration}

// state is what the endpoints answer from. It is guarded by Issuer.mu.
type state struct {
	path      string
	made      int      // keys made so far, for their IDs
	signing   []*Key   // one for each algorithm
	published []*Key   // in the key set, oldest first
	raw       []string // further members of the key set, as they stand

	clients       map[string]*Client   // by ID
	grants        map[string]GrantFunc // by grant_type
	refreshTokens map[string]*session  // those that are good
	spent         map[string]*session  // refresh tokens that were used
	jtis          map[string]bool      // of client assertions and proofs

	login          Login
	codes          map[string]*authorization
	pushed         map[string]url.Values // by request_uri
	changeCallback func(url.Values)
	changeIDToken  func(map[string]any)
	dpopNonce      string

	pending map[string]*pending // by user code, device code and auth_req_id
	trusted map[string][]*Key   // whose assertions are good, by issuer

	userInfo           map[string]any
	revoked            map[string]bool // access tokens
	registered         map[string]*registered
	initialAccessToken string

	metadata     map[string]any // overrides of discovery
	overrides    map[Endpoint]http.HandlerFunc
	hangs        map[Endpoint]*Hang
	cacheControl string
	etag, gzip   bool

	requests map[Endpoint]int
	last     map[Endpoint]http.Header
}

// URLOf is the full address of an endpoint, "" for [Elsewhere].
func (i *Issuer) URLOf(e Endpoint) string {
	p := i.state.pathOf(e)
	if p == "" {
		return ""
	}
	return i.origin + p
}

func (s *state) pathOf(e Endpoint) string {
	path := strings.TrimSuffix(s.path, "/")
	switch e {
	case OpenIDDiscovery:
		return path + "/.well-known/openid-configuration"
	case OAuthDiscovery:
		return "/.well-known/oauth-authorization-server" + path
	case JWKS:
		return path + "/keys"
	case Token:
		return path + "/token"
	case Authorization:
		return path + "/authorize"
	case PAR:
		return path + "/par"
	case DeviceAuthorization:
		return path + "/device_authorization"
	case Backchannel:
		return path + "/bc-authorize"
	case UserInfo:
		return path + "/userinfo"
	case Introspection:
		return path + "/introspect"
	case Revocation:
		return path + "/revoke"
	case Registration:
		return path + "/register"
	default:
		return ""
	}
}

// Requests counts the requests that arrived at these endpoints since the
// issuer was made, whatever became of them; without arguments, at all.
func (i *Issuer) Requests(at ...Endpoint) int {
	if len(at) == 0 {
		at = append([]Endpoint{Elsewhere}, endpoints...)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	n := 0
	for _, e := range at {
		n += i.state.requests[e]
	}
	return n
}

// LastHeader has the header fields of the last request to an endpoint, nil if
// there was none.
func (i *Issuer) LastHeader(at Endpoint) http.Header {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.state.last[at].Clone()
}

// handler answers requests. Closing ended lets go of those that hang.
func (i *Issuer) handler(ended <-chan struct{}) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e, hang := i.arrive(r)
		if hang != nil && !hang.wait(r, ended) {
			panic(http.ErrAbortHandler) // returning would be an empty 200
		}
		i.mu.Lock()
		override := i.state.overrides[e]
		serve := handlers[e]
		body, status := i.state.document(i, e)
		cacheControl, useETag, useGzip := i.state.cacheControl, i.state.etag, i.state.gzip
		i.mu.Unlock()

		if override != nil {
			override(w, r)
			return
		}
		if serve != nil {
			serve(i, w, r)
			return
		}
		if status != http.StatusOK {
			http.Error(w, http.StatusText(status), status)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if cacheControl != "" {
			w.Header().Set("Cache-Control", cacheControl)
		}
		if useETag {
			sum := sha256.Sum256(body)
			tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
			w.Header().Set("ETag", tag)
			if r.Header.Get("If-None-Match") == tag {
				w.WriteHeader(http.StatusNotModified)
				return
			}
		}
		if useGzip && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			w.Header().Set("Content-Encoding", "gzip")
			body = compress(body)
		}
		_, _ = w.Write(body)
	})
}

// handlers are the endpoints that do more than serve a document. They are called
// without the lock.
var handlers = map[Endpoint]func(*Issuer, http.ResponseWriter, *http.Request){
	Token:               (*Issuer).serveToken,
	Authorization:       (*Issuer).serveAuthorize,
	PAR:                 (*Issuer).servePAR,
	DeviceAuthorization: (*Issuer).serveDevice,
	Backchannel:         (*Issuer).serveBackchannel,
	UserInfo:            (*Issuer).serveUserInfo,
	Introspection:       (*Issuer).serveIntrospection,
	Revocation:          (*Issuer).serveRevocation,
	Registration:        (*Issuer).serveRegistration,
}

// clientEndpoints are the members of metadata that name the endpoints that clients
// call.
var clientEndpoints = map[Endpoint]string{
	Token:               "token_endpoint",
	PAR:                 "pushed_authorization_request_endpoint",
	DeviceAuthorization: "device_authorization_endpoint",
	Backchannel:         "backchannel_authentication_endpoint",
	UserInfo:            "userinfo_endpoint",
	Introspection:       "introspection_endpoint",
	Revocation:          "revocation_endpoint",
	Registration:        "registration_endpoint",
}

// mtlsPrefix stands before the path of an endpoint that is called with a client
// certificate.
const mtlsPrefix = "/mtls"

// arrive counts a request and says where it goes.
func (i *Issuer) arrive(r *http.Request) (Endpoint, *Hang) {
	i.mu.Lock()
	defer i.mu.Unlock()
	at := Elsewhere
	path := strings.TrimPrefix(r.URL.Path, mtlsPrefix) // the aliases of RFC 8705 section 5
	for _, e := range endpoints {
		if path == i.state.pathOf(e) && (path == r.URL.Path || i.authority != nil && handlers[e] != nil) {
			at = e
		}
	}
	if i.state.requests == nil {
		i.state.requests = make(map[Endpoint]int)
		i.state.last = make(map[Endpoint]http.Header)
	}
	i.state.requests[at]++
	i.state.last[at] = r.Header.Clone()
	return at, i.state.hangs[at]
}

// document is what an endpoint serves when it is well.
func (s *state) document(i *Issuer, e Endpoint) ([]byte, int) {
	switch e {
	case OpenIDDiscovery, OAuthDiscovery:
		return s.discovery(i), http.StatusOK
	case JWKS:
		return s.keySet(), http.StatusOK
	default:
		return nil, http.StatusNotFound
	}
}

func (s *state) discovery(i *Issuer) []byte {
	var algs []string
	for _, k := range s.signing {
		algs = append(algs, k.Algorithm)
	}
	base := i.origin + strings.TrimSuffix(s.path, "/")
	doc := map[string]any{
		"issuer":                                i.URL,
		"jwks_uri":                              i.origin + s.pathOf(JWKS),
		"authorization_endpoint":                i.origin + s.pathOf(Authorization),
		"token_endpoint":                        base + "/token",
		"response_types_supported":              []string{"code"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": algs,
	}
	if len(s.clients) > 0 {
		doc["token_endpoint_auth_methods_supported"] = authMethods
		doc["authorization_response_iss_parameter_supported"] = true
		doc["code_challenge_methods_supported"] = []string{"S256"}
		doc["response_modes_supported"] = responseModes[1:]
		doc["grant_types_supported"] = slices.Sorted(maps.Keys(s.grants))
		doc["backchannel_token_delivery_modes_supported"] = []string{"poll"}
		doc["end_session_endpoint"] = base + "/logout"
		doc["backchannel_logout_supported"], doc["backchannel_logout_session_supported"] = true, true
		aliases := map[string]string{}
		for e, member := range clientEndpoints {
			doc[member] = i.origin + s.pathOf(e)
			aliases[member] = i.origin + mtlsPrefix + s.pathOf(e)
		}
		if i.authority != nil {
			doc["mtls_endpoint_aliases"] = aliases
		}
	}
	override(doc, s.metadata)
	return mustJSON(doc)
}

func (s *state) keySet() []byte {
	keys := []json.RawMessage{}
	for _, k := range s.published {
		keys = append(keys, mustJSON(k.JWK()))
	}
	set := mustJSON(map[string]any{"keys": keys})
	if len(s.raw) == 0 {
		return set
	}
	// Raw members need not be JSON at all, so they are not encoded.
	list := strings.TrimSuffix(string(set), "]}")
	for n, raw := range s.raw {
		if n > 0 || len(keys) > 0 {
			list += ","
		}
		list += raw
	}
	return []byte(list + "]}")
}

func compress(body []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(body) // a bytes.Buffer takes everything
	_ = z.Close()
	return out.Bytes()
}

// mustJSON panics where a caller put something into a token or a document that
// JSON does not have.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("oidctest: " + err.Error())
	}
	return b
}
