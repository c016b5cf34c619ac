package oidc

// Reason is the one constant that names why a request was allowed or refused.
// It is at once the log field, the metric label and the metadata key. The zero
// Reason is not a verdict: it has [ClassInternal] and so denies.
type Reason string

// The reasons for an allow.
const (
	ValidToken    Reason = "valid_token"    // a token was verified and the policy is satisfied
	Anonymous     Reason = "anonymous"      // optional access, and the request carries no credential
	Public        Reason = "public"         // credentials were not looked at
	CORSPreflight Reason = "cors_preflight" // a preflight, under a policy that lets them through
)

// The reasons that concern the credential as it stands in the request.
const (
	MissingToken         Reason = "missing_token"
	MalformedCredentials Reason = "malformed_credentials"
	MultipleCredentials  Reason = "multiple_credentials"
)

// The reasons that concern a token.
const (
	MalformedToken       Reason = "malformed_token"
	TokenTooLarge        Reason = "token_too_large"
	UnsupportedAlgorithm Reason = "unsupported_algorithm"
	UnknownIssuer        Reason = "unknown_issuer"
	IssuerNotAccepted    Reason = "issuer_not_accepted"
	WrongTokenType       Reason = "wrong_token_type"
	Expired              Reason = "expired"
	NotYetValid          Reason = "not_yet_valid"
	WrongAudience        Reason = "wrong_audience"
	UnknownKey           Reason = "unknown_key"
	BadSignature         Reason = "bad_signature"
	InvalidClaim         Reason = "invalid_claim"
	Inactive             Reason = "inactive"
	Revoked              Reason = "revoked"
)

// The reasons that concern a proof of possession (RFC 9449, RFC 8705).
const (
	ProofMissing    Reason = "proof_missing"
	ProofInvalid    Reason = "proof_invalid"
	ProofReplayed   Reason = "proof_replayed"
	NonceRequired   Reason = "nonce_required"
	BindingMismatch Reason = "binding_mismatch"
)

// The reasons for which a valid token is not enough.
const (
	InsufficientAuthentication Reason = "insufficient_authentication"
	InsufficientScope          Reason = "insufficient_scope"
	NoPolicy                   Reason = "no_policy"
	DeniedByPolicy             Reason = "denied_by_policy"
	AmbiguousPath              Reason = "ambiguous_path"
	ClaimMismatch              Reason = "claim_mismatch"
	RoleMissing                Reason = "role_missing"
	ConditionFalse             Reason = "condition_false"
	PolicyError                Reason = "policy_error"
	IdentityTooLarge           Reason = "identity_too_large"
)

// The reasons for which nobody can tell whether the token is good.
const (
	KeysUnavailable          Reason = "keys_unavailable"
	IntrospectionUnavailable Reason = "introspection_unavailable"
	Overloaded               Reason = "overloaded"
	Deadline                 Reason = "deadline"
	Internal                 Reason = "internal"
)

// Class groups the reasons that are answered alike, so that a client cannot
// learn from the answer which check failed. The zero Class denies with 500.
type Class uint8

// The classes of answers.
const (
	ClassInternal          Class = iota // 500: a fault of ours
	ClassAllow                          // the request goes on
	ClassNoCredential                   // 401 with no error attribute (RFC 6750 section 3.1)
	ClassBadRequest                     // 400 invalid_request
	ClassInvalidToken                   // 401 invalid_token
	ClassProof                          // 401 invalid_dpop_proof, use_dpop_nonce or invalid_token
	ClassStepUp                         // 401 insufficient_user_authentication (RFC 9470)
	ClassInsufficientScope              // 403 insufficient_scope
	ClassForbidden                      // 403 without a challenge
	ClassUnavailable                    // 503 with Retry-After
)

var reasonClass = map[Reason]Class{
	ValidToken: ClassAllow, Anonymous: ClassAllow, Public: ClassAllow, CORSPreflight: ClassAllow,

	MissingToken:         ClassNoCredential,
	MalformedCredentials: ClassBadRequest, MultipleCredentials: ClassBadRequest,

	MalformedToken: ClassInvalidToken, TokenTooLarge: ClassInvalidToken, UnsupportedAlgorithm: ClassInvalidToken,
	UnknownIssuer: ClassInvalidToken, IssuerNotAccepted: ClassInvalidToken, WrongTokenType: ClassInvalidToken,
	Expired: ClassInvalidToken, NotYetValid: ClassInvalidToken, WrongAudience: ClassInvalidToken,
	UnknownKey: ClassInvalidToken, BadSignature: ClassInvalidToken, InvalidClaim: ClassInvalidToken,
	Inactive: ClassInvalidToken, Revoked: ClassInvalidToken,

	ProofMissing: ClassProof, ProofInvalid: ClassProof, ProofReplayed: ClassProof,
	NonceRequired: ClassProof, BindingMismatch: ClassProof,

	InsufficientAuthentication: ClassStepUp,
	InsufficientScope:          ClassInsufficientScope,

	NoPolicy: ClassForbidden, DeniedByPolicy: ClassForbidden, AmbiguousPath: ClassForbidden,
	ClaimMismatch: ClassForbidden, RoleMissing: ClassForbidden, ConditionFalse: ClassForbidden,
	PolicyError: ClassForbidden, IdentityTooLarge: ClassForbidden,

	KeysUnavailable: ClassUnavailable, IntrospectionUnavailable: ClassUnavailable,
	Overloaded: ClassUnavailable, Deadline: ClassUnavailable,

	Internal: ClassInternal,
}

// Class returns how r is answered; [ClassInternal] for an unknown reason.
func (r Reason) Class() Class { return reasonClass[r] }

// Reasons returns every reason there is, in no order. Metrics and tests use it
// to be complete.
func Reasons() []Reason {
	all := make([]Reason, 0, len(reasonClass))
	for r := range reasonClass {
		all = append(all, r)
	}
	return all
}
