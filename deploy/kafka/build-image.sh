#!/usr/bin/env bash
# Builds the Kafka image of the container tests from published jars, a JRE made by jlink
# and Debian's busybox, for machines that cannot pull images. It takes the same KAFKA_* variables
# as the public apache/kafka image. The script does nothing when the image exists.
#
#	build-image.sh [--force] [IMAGE:TAG]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

force=
if [ "${1:-}" = --force ]; then force=1; shift; fi
version=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$here/pom.xml")
image=${1:-ackwire/kafka:$version}
say() { echo "kafka image: $*"; }

if [ -z "$force" ] && docker image inspect "$image" >/dev/null 2>&1; then
  say "$image is there"
  exit 0
fi
for tool in docker mvn jlink ldd tar; do
  command -v "$tool" >/dev/null || { say "$tool is needed to build it" >&2; exit 1; }
done
. "$here/../ci/rootfs.sh"
need_busybox

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root"/{bin,tmp,proc,opt/kafka/config,opt/kafka/libs,etc/kafka/docker,mnt/shared/config,var/lib/kafka/data,lib64,root}
chmod 1777 "$root/tmp"

say "fetching the jars of Kafka $version"
mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$root/opt/kafka/libs" -DincludeScope=runtime

say "making a Java runtime"
jlink --no-header-files --no-man-pages --strip-debug --output "$root/opt/java" --add-modules \
  java.base,java.logging,java.management,java.naming,java.sql,java.xml,java.security.jgss,java.security.sasl,java.desktop,jdk.unsupported,jdk.crypto.ec,jdk.zipfs,jdk.management,jdk.net,jdk.naming.dns

add_libraries "$root/opt/java/bin/java" "$root"/opt/java/lib/*.so "$root"/opt/java/lib/server/*.so
add_busybox sh ls cat kill sleep nc
cp "$here"/{server.properties,log4j2.yaml,tools-log4j2.yaml} "$root/etc/kafka/docker/"
cp "$here"/{server.properties,log4j2.yaml,tools-log4j2.yaml} "$root/opt/kafka/config/"
cp "$here/entrypoint.sh" "$root/entrypoint.sh"
chmod 755 "$root/entrypoint.sh"
printf 'root:x:0:0:root:/root:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\n' >"$root/etc/group"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"

tar -C "$root" -cf "$work/rootfs.tar" .
cat >"$work/Dockerfile" <<'D'
FROM scratch
ADD rootfs.tar /
ENV PATH=/bin:/opt/java/bin
EXPOSE 9092
ENTRYPOINT ["/entrypoint.sh"]
D
mkdir "$work/context" && mv "$work/rootfs.tar" "$work/Dockerfile" "$work/context/"
say "building $image"
DOCKER_BUILDKIT=0 docker build -q -t "$image" "$work/context" >/dev/null
say "$image built ($(docker image inspect -f '{{.Size}}' "$image" | awk '{printf "%d MB", $1/1e6}'))"
