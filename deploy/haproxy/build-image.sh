#!/usr/bin/env bash
# Builds an HAProxy image for machines that can pull no image, from Debian's packages, which
# are unpacked and not installed. It takes its configuration where the public image does.
# Does nothing when the image is there.
#
#	build-image.sh [--force] [IMAGE:TAG]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

force=
if [ "${1:-}" = --force ]; then force=1; shift; fi
image=${1:-ackwire/haproxy:latest}
say() { echo "haproxy image: $*"; }

if [ -z "$force" ] && docker image inspect "$image" >/dev/null 2>&1; then
  say "$image is there"
  exit 0
fi
for tool in docker apt-get dpkg-deb ldd tar; do
  command -v "$tool" >/dev/null || { say "$tool is needed to build it" >&2; exit 1; }
done
. "$here/../ci/rootfs.sh"
need_busybox

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root unpacked=$work/unpacked
mkdir -p "$root"/{bin,tmp,etc,usr/local/etc/haproxy} "$unpacked" "$work/debs/partial" "$work/context"
chmod 1777 "$root/tmp"

say "fetching the package haproxy and what it needs"
fetch() {
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends --download-only --reinstall \
    -o Dir::Cache::archives="$work/debs" -o APT::Sandbox::User=root haproxy >/dev/null
}
fetch || { apt-get update -qq && fetch; }
for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$unpacked"; done
cp "$unpacked/usr/sbin/haproxy" "$root/bin/haproxy"
LD_LIBRARY_PATH=$(find "$unpacked" -name '*.so*' -printf '%h\n' | sort -u | paste -sd:)
export LD_LIBRARY_PATH
add_libraries "$root/bin/haproxy"
unset LD_LIBRARY_PATH
add_busybox sh cat wget
printf 'root:x:0:0::/:/bin/sh\nhaproxy:x:99:99::/:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\nhaproxy:x:99:\n' >"$root/etc/group"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"

tar -C "$root" -cf "$work/context/rootfs.tar" .
cat >"$work/context/Dockerfile" <<'D'
FROM scratch
ADD rootfs.tar /
ENV PATH=/bin
USER haproxy
STOPSIGNAL SIGUSR1
ENTRYPOINT ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
D
say "building $image"
DOCKER_BUILDKIT=0 docker build -q -t "$image" "$work/context" >/dev/null 2>&1
say "$image built ($(docker image inspect -f '{{.Size}}' "$image" | awk '{printf "%d MB", $1/1e6}')): $(docker run --rm --entrypoint haproxy "$image" -v | head -1)"
