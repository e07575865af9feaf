#!/usr/bin/env bash
# Builds an image of a Debian package's program, for machines that cannot pull images. The package is
# unpacked but not installed; its program, which has the package's name, and the libraries that it loads
# are added to an image from scratch. PACKAGE.Dockerfile, beside this script, defines its start: it reads
# its configuration from the same place as the public image, so the compose file can use either. The
# script does nothing when the image exists.
#
#	debian.sh [--force] PACKAGE USER FOLDER IMAGE:TAG
#
# USER is the number of the user as which it runs and who owns FOLDER.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

force=
if [ "${1:-}" = --force ]; then force=1; shift; fi
package=$1 user=$2 folder=$3 image=$4
say() { echo "$package image: $*"; }

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
mkdir -p "$root"/{bin,tmp,etc} "$root$folder" "$unpacked" "$work/debs/partial" "$work/context"
chmod 1777 "$root/tmp"
chown "$user:$user" "$root$folder"

say "fetching the package and what it needs"
fetch() {
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends --download-only --reinstall \
    -o Dir::Cache::archives="$work/debs" -o APT::Sandbox::User=root "$package" >/dev/null
}
fetch || { apt-get update -qq && fetch; }
for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$unpacked"; done
cp "$unpacked"/usr/*bin/"$package" "$root/bin/"
LD_LIBRARY_PATH=$(find "$unpacked" -name '*.so*' -printf '%h\n' | sort -u | paste -sd:)
export LD_LIBRARY_PATH
add_libraries "$root/bin/$package"
unset LD_LIBRARY_PATH
add_busybox sh cat wget
printf 'root:x:0:0::/:/bin/sh\n%s:x:%s:%s::/:/bin/sh\n' "$package" "$user" "$user" >"$root/etc/passwd"
printf 'root:x:0:\n%s:x:%s:\n' "$package" "$user" >"$root/etc/group"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"

tar -C "$root" -cf "$work/context/rootfs.tar" .
cp "$here/$package.Dockerfile" "$work/context/Dockerfile"
say "building $image"
DOCKER_BUILDKIT=0 docker build -q -t "$image" --build-arg USER="$user" "$work/context" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
version=$(dpkg-deb -f "$(find "$work/debs" -name "${package}_*.deb")" Version)
say "$image built of version $version ($(docker image inspect -f '{{.Size}}' "$image" | awk '{printf "%d MB", $1/1e6}'))"
