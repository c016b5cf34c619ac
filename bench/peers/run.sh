#!/usr/bin/env bash
# Measures heimdall and OPA-Envoy beside the gate, in one run:
#
#   make build && bench/peers/run.sh HEIMDALL OPA [options of go run ./bench checks]
#
# HEIMDALL and OPA are their programs: heimdall, built by `go build .`, and
# opa-envoy-plugin, by `go build ./cmd/opa-envoy-plugin`.
set -euo pipefail
if [ $# -lt 2 ]; then
	sed -n '2,7s/^# \{0,1\}//p' "$0"
	exit 2
fi
heimdall=$(realpath "$1") opa=$(realpath "$2")
shift 2
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
peers=()
trap 'kill "${peers[@]}"; wait "${peers[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT

(cd bench/peers && exec "$heimdall" serve decision --envoy-grpc --insecure --config heimdall.yaml) >"$work/heimdall.log" 2>&1 &
peers+=($!)
# OPA has the key set in its policy, so it starts when the issuer does; the process is
# there before.
(
	until curl --silent --fail --output "$work/keys.json" http://127.0.0.1:9800/keys; do sleep 0.1; done
	printf 'package envoy.authz\n\nkeys := `%s`\n' "$(cat "$work/keys.json")" >"$work/keys.rego"
	exec "$opa" run --server --addr 127.0.0.1:9458 --log-level error --skip-version-check \
		--set plugins.envoy_ext_authz_grpc.addr=127.0.0.1:9459 \
		--set plugins.envoy_ext_authz_grpc.path=envoy/authz/allow \
		--set plugins.envoy_ext_authz_grpc.skip-request-body-parse=true \
		bench/peers/opa.rego "$work/keys.rego"
) >"$work/opa.log" 2>&1 &
peers+=($!)
go run ./bench checks -issuer 127.0.0.1:9800 \
	-peer "heimdall=127.0.0.1:9456,${peers[0]}" -peer "opa=127.0.0.1:9459,${peers[1]}" "$@"
