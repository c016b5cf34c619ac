// Package interop tests the gate against identity providers that people run, each
// a real one that is started here: tokens that it issues, keys that it rotates, and
// restarts while requests come in; and in what it is installed on and plugged into, a
// Kubernetes API server and Istio. What each test proves stands in docs/interop.md.
//
// Such a program and all it needs is a part. get-part.sh fetches or builds it, once, by
// the package client of its language, into the user's cache. Its own files, a few
// lines each, stand in a folder beside. Everything listens on loopback.
//
// The tests run where CLAIMGATE_INTEROP is set: see make test-interop,
// make test-chart and make test-istio.
package interop
