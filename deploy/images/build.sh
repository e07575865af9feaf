#!/usr/bin/env bash
# Builds the images: each has one static binary, is built from scratch and runs as a numeric user other
# than root. The same source, toolchain and CA bundle make the same layers, byte for byte.
#
#	build.sh [SERVICE…]
#
# ACKWIRE_IMAGE_PREFIX (ackwire/) and ACKWIRE_VERSION (latest) name them, as the compose file
# does; ACKWIRE_CA_BUNDLE is the file of root certificates, by default this machine's;
# ACKWIRE_NO_CACHE=1 makes Docker build all layers again.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."

say() { echo "images: $*"; }
fail() { say "$*" >&2; exit 1; }

declare -A commands=(
  [gateway]=./gateway/cmd/gateway [tracker]=./tracker/cmd/tracker [processor]=./processor/cmd/processor
  [ackwire]=./embedded/cmd/ackwire [loadtest]=./loadtest/cmd/loadtest
)
services=("$@")
[ ${#services[@]} -gt 0 ] || services=(gateway tracker processor ackwire loadtest)
for s in "${services[@]}"; do [ -n "${commands[$s]:-}" ] || fail "there is no service $s"; done
for tool in docker go git tar; do command -v "$tool" >/dev/null || fail "$tool is needed"; done

prefix=${ACKWIRE_IMAGE_PREFIX:-ackwire/}
tag=${ACKWIRE_VERSION:-latest}
# Largest unpacked size of an image. The tracker's has a database (pebble) beside what the others have. The load
# test is larger because it uses templates, and a program with templates keeps every method (DESIGN.md, "kong finds
# its hooks").
max_bytes=40000000
max_bytes_tracker=45000000
max_bytes_loadtest=50000000
# Docker clients without buildx, such as Debian's, have only the classic builder.
docker buildx version >/dev/null 2>&1 || export DOCKER_BUILDKIT=0
user=65532

# Version and revision of the binaries. Sources without git history are "dev" and "unknown".
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
[ -z "$(git status --porcelain 2>/dev/null)" ] || revision=$revision-dirty
version=$tag
[ "$tag" != latest ] || version=$(git describe --tags --match 'v[0-9]*' 2>/dev/null || echo dev)
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}

bundle=${ACKWIRE_CA_BUNDLE:-}
for f in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem; do
  [ -n "$bundle" ] || [ ! -s "$f" ] || bundle=$f
done
[ -s "$bundle" ] || fail "no root certificates found: set ACKWIRE_CA_BUNDLE"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A copy of the module kong with kong.patch, in a workspace for this build only. Binaries contain its
# relative path only, so they do not depend on the folder.
kong=$(go list -m -f '{{.Dir}}' github.com/alecthomas/kong)
cp -r "$kong" "$work/kong"
chmod -R u+w "$work/kong"
(cd "$work/kong" && GIT_CEILING_DIRECTORIES=$work git apply "$here/kong.patch") || fail "kong.patch does not fit this version of kong"
sed -E "s:^\t\.(/|$):\t$PWD\1:" go.work >"$work/go.work"
printf '\nreplace github.com/alecthomas/kong => ./kong\n' >>"$work/go.work"
cp go.work.sum "$work/go.work.sum"

arch=$(docker version -f '{{.Server.Arch}}') && [ -n "$arch" ] || fail "Docker's engine does not say for which machine it runs images"
say "compiling ${services[*]}, version $version, revision $revision"
stamp=github.com/ackwire/ackwire/internal/service/version
paths=()
for s in "${services[@]}"; do paths+=("${commands[$s]}"); done
mkdir "$work/bin"
# disable_grpc_modules and grpcnotrace leave out unused parts of Google's storage client and gRPC: xDS,
# and a debug page.
GOWORK=$work/go.work CGO_ENABLED=0 GOOS=linux GOARCH=$arch go build -o "$work/bin/" \
  -trimpath -buildvcs=false -tags timetzdata,disable_grpc_modules,grpcnotrace \
  -ldflags "-s -w -buildid= -X $stamp.version=$version -X $stamp.revision=$revision" "${paths[@]}"

for s in "${services[@]}"; do
  root=$work/root
  rm -rf "$root" "$work/context"
  mkdir -p "$root"/{etc/ssl/certs,licenses,tmp,data,keys,blobs} "$work/context"
  cp "$work/bin/$s" "$root/$s"
  cp LICENSE "$here/LICENSES.txt" "$root/licenses/"
  cp "$bundle" "$root/etc/ssl/certs/ca-certificates.crt"
  printf 'ackwire:x:%s:%s::/:/sbin/nologin\n' $user $user >"$root/etc/passwd"
  printf 'ackwire:x:%s:\n' $user >"$root/etc/group"
  find "$root" -type d -exec chmod 755 {} +
  find "$root" -type f -exec chmod 644 {} +
  chmod 755 "$root/$s"
  chmod 1777 "$root/tmp"
  pack() { tar -C "$root" --sort=name --mtime="@$epoch" --numeric-owner --format=ustar "$@"; }
  # The user owns the folders at which volumes are mounted, and so new volumes.
  pack --owner=0 --group=0 -cf "$work/context/root.tar" etc licenses tmp "$s"
  pack --owner=$user --group=$user -rf "$work/context/root.tar" blobs data keys
  cp "$here/$s.Dockerfile" "$work/context/Dockerfile"
  image=$prefix$s:$tag
  docker build -q ${ACKWIRE_NO_CACHE:+--no-cache} -t "$image" --build-arg VERSION="$version" --build-arg REVISION="$revision" "$work/context" >"$work/log" 2>&1 || {
    cat "$work/log" >&2
    fail "$image was not built"
  }
  bytes=$(docker image inspect -f '{{.Size}}' "$image")
  most=max_bytes_$s
  most=${!most:-$max_bytes}
  [ "$bytes" -lt "$most" ] || fail "$image has $bytes bytes, above the $most that are allowed"
  say "$image ($((bytes / 1000000)) MB)"
done
