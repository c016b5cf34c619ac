package oidc

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Challenge is what a resource server says about itself when it refuses a
// request. The zero value works and has no realm.
type Challenge struct {
	Realm            string   // of RFC 9110 section 11.5, "" for none; what no header may carry is left out
	ResourceMetadata string   // URL of RFC 9728, "" if there is none
	Scopes           []string // all scopes that the resource wants
	StepUp           StepUp   // what it wants of the user's authentication

	// DPoP are the algorithms that are accepted in DPoP proofs; nil means that DPoP
	// is not offered (RFC 9449 section 7.1).
	DPoP []Algorithm
	// NoBearer means that bearer tokens are not accepted, only those under DPoP.
	NoBearer bool
	// UsedDPoP means that the request that is refused used the scheme DPoP: the
	// refusal is said under the scheme that was used.
	UsedDPoP bool
}

// answer is how a class of reasons is answered. Clients see nothing else of a
// reason, so all causes of one class look alike.
type answer struct {
	status      int
	code        string // of the body; an RFC 6750 code where there is one
	challenge   bool   // a WWW-Authenticate header is sent …
	errorCode   string // … with this error attribute, "" for none (RFC 6750 section 3.1)
	description string
}

// answers is complete: a test compares it with the classes.
var answers = [...]answer{
	ClassInternal: {http.StatusInternalServerError, "server_error", false, "", "The request could not be checked"},
	ClassAllow:    {http.StatusOK, "", false, "", ""},
	ClassNoCredential: {http.StatusUnauthorized, "unauthorized", true, "",
		"An access token is required"},
	ClassBadRequest: {http.StatusBadRequest, "invalid_request", true, "invalid_request",
		"The credentials of the request are malformed"},
	ClassInvalidToken: {http.StatusUnauthorized, "invalid_token", true, "invalid_token",
		"The access token is not valid"},
	// Where no proof is offered, a token that wants one is not valid. What is
	// wrong with a proof itself is said under its own scheme: see dpopCode.
	ClassProof: {http.StatusUnauthorized, "invalid_token", true, "invalid_token",
		"The access token is not valid"},
	ClassStepUp: {http.StatusUnauthorized, "insufficient_user_authentication", true, "insufficient_user_authentication",
		"A stronger or more recent authentication is required"},
	ClassInsufficientScope: {http.StatusForbidden, "insufficient_scope", true, "insufficient_scope",
		"The access token lacks a scope"},
	ClassForbidden: {http.StatusForbidden, "access_denied", false, "",
		"Access is denied"},
	ClassUnavailable: {http.StatusServiceUnavailable, "temporarily_unavailable", false, "",
		"The request cannot be checked now"},
}

// dpopCode returns the error code of a reason that is about a DPoP proof, and not
// about the token that came with it (RFC 9449 sections 7.1 and 9); "" for others.
// Such a reason occurs only where DPoP is offered.
func (r Reason) dpopCode() string {
	switch r {
	case ProofInvalid, ProofReplayed:
		return "invalid_dpop_proof"
	case NonceRequired:
		return "use_dpop_nonce"
	default:
		return ""
	}
}

const expiredDescription = "The access token expired"

func (r Reason) answer() answer {
	a := answers[r.Class()]
	if r == Expired { // the one cause that clients act on
		a.description = expiredDescription
	}
	if code := r.dpopCode(); code != "" {
		a.code, a.errorCode = code, code
	}
	return a
}

// Status returns the HTTP status with which r is answered.
func (r Reason) Status() int { return r.answer().status }

// ErrorCode returns the code for the error member of a response body, "" for an
// allow. Where RFC 6750 or RFC 9470 have one, it is theirs.
func (r Reason) ErrorCode() string { return r.answer().code }

// Description returns a sentence for the client. It is the same for all reasons
// of a class, but for [Expired].
func (r Reason) Description() string { return r.answer().description }

// Values returns the values of the WWW-Authenticate header for a refusal with
// reason r (RFC 6750 section 3, RFC 9449 section 7.1, RFC 9470 section 3), nil if
// its class has no challenge. A 401 names each scheme that the client may come
// back with, the one of the refusal first.
func (c Challenge) Values(r Reason) []string {
	a := r.answer()
	if !a.challenge {
		return nil
	}
	var params []string
	add := func(name, value string) { params = append(params, param(name, value)) }
	if c.Realm != "" {
		add("realm", c.Realm)
	}
	if a.errorCode != "" {
		add("error", a.errorCode)
	}
	if r == Expired {
		add("error_description", expiredDescription)
	}
	if r.Class() == ClassInsufficientScope && len(c.Scopes) > 0 {
		add("scope", strings.Join(distinct(c.Scopes), " "))
	}
	if r.Class() == ClassStepUp {
		if len(c.StepUp.ACRValues) > 0 {
			add("acr_values", strings.Join(c.StepUp.ACRValues, " "))
		}
		if c.StepUp.MaxAge > 0 {
			add("max_age", strconv.FormatInt(int64(c.StepUp.MaxAge/time.Second), 10))
		}
	}
	if c.ResourceMetadata != "" {
		add("resource_metadata", c.ResourceMetadata)
	}
	if c.UsedDPoP || c.NoBearer || r.dpopCode() != "" {
		return []string{schemeDPoP.with(params, c.algs())}
	}
	values := []string{schemeBearer.with(params)}
	if c.DPoP != nil && a.status == http.StatusUnauthorized { // the other way to come back
		values = append(values, schemeDPoP.with(c.about(), c.algs()))
	}
	return values
}

// scheme is an authentication scheme of a challenge.
type scheme string

const (
	schemeBearer scheme = "Bearer"
	schemeDPoP   scheme = "DPoP"
)

func (s scheme) with(params ...[]string) string {
	if all := slices.Concat(params...); len(all) > 0 {
		return string(s) + " " + strings.Join(all, ", ")
	}
	return string(s)
}

func param(name, value string) string { return name + `="` + quotedText(value) + `"` }

// algs is the parameter that says what proofs are accepted.
func (c Challenge) algs() []string {
	if len(c.DPoP) == 0 {
		return nil
	}
	names := make([]string, len(c.DPoP))
	for i, a := range c.DPoP {
		names[i] = string(a)
	}
	return []string{param("algs", strings.Join(names, " "))}
}

// about are the parameters of a challenge that says nothing about the request.
func (c Challenge) about() []string {
	var params []string
	if c.Realm != "" {
		params = append(params, param("realm", c.Realm))
	}
	if c.ResourceMetadata != "" {
		params = append(params, param("resource_metadata", c.ResourceMetadata))
	}
	return params
}

// distinct returns list without repetitions, in its order.
func distinct(list []string) []string {
	var out []string
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// quotedText makes s fit for a quoted-string (RFC 9110 section 5.6.4); bytes
// that no header may carry are dropped.
func quotedText(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c >= 0x20 && c <= 0x7e:
			b.WriteByte(c)
		}
	}
	return b.String()
}
