#!/usr/bin/env bash
# Builds an image of the OpenTelemetry collector from its Go modules, for machines that cannot pull images:
# one static binary, from scratch. The script does nothing when the image exists.
#
#	build-image.sh [--force] [IMAGE:TAG]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

force=
if [ "${1:-}" = --force ]; then force=1; shift; fi
version=$(sed -n 's:.*go.opentelemetry.io/collector/otelcol v::p' "$here/go.mod")
image=${1:-ackwire/otel:$version}
say() { echo "otel image: $*"; }

if [ -z "$force" ] && docker image inspect "$image" >/dev/null 2>&1; then
  say "$image is there"
  exit 0
fi
for tool in docker go; do
  command -v "$tool" >/dev/null || { say "$tool is needed to build it" >&2; exit 1; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say "compiling the collector $version"
GOWORK=off CGO_ENABLED=0 GOOS=linux GOARCH=$(docker version -f '{{.Server.Arch}}') go build -C "$here" -o "$work/collector" \
  -trimpath -buildvcs=false -ldflags "-s -w -buildid=" .
cp "$here/Dockerfile" "$work/Dockerfile"
say "building $image"
DOCKER_BUILDKIT=0 docker build -q -t "$image" "$work" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
say "$image built ($(docker image inspect -f '{{.Size}}' "$image" | awk '{printf "%d MB", $1/1e6}'))"
