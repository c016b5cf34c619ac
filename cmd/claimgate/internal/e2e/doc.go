// Package e2e tests the gate behind a real Envoy with the shipped envoy.yaml.
// Its tests run where CLAIMGATE_E2E is set: see make test-integration.
package e2e
