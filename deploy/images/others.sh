#!/usr/bin/env bash
# Sees to the images of others that the compose file's profile core needs: those that are not
# here are pulled, and where no registry answers they are built from packages and named in
# .env, which docker compose reads.
set -euo pipefail
cd "$(dirname "$0")/../.."

say() { echo "images: $*"; }
pull_timeout=120

# see VARIABLE LOCAL BUILDER
see() {
  local variable=$1 built=$2 builder=$3 image set=
  set=${!variable:-}
  [ -n "$set" ] || [ ! -f .env ] || set=$(sed -n "s/^$variable=//p" .env | tail -1)
  image=${set:-$(sed -n "s/.*\${$variable:-\(.*\)}.*/\1/p" docker-compose.yml | head -1)}
  if docker image inspect "$image" >/dev/null 2>&1 || timeout $pull_timeout docker pull -q "$image" >/dev/null 2>&1; then
    say "$image is there"
  elif [ -n "$set" ] && [ "$set" != "$built" ]; then
    say "$image, of $variable, can not be pulled" >&2
    exit 1
  else
    say "$image can not be pulled: building $built"
    "$builder" "$built"
    [ -n "$set" ] || echo "$variable=$built" >>.env
  fi
}

kafka=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' deploy/kafka/pom.xml)
see KAFKA_IMAGE "ackwire/kafka:$kafka" deploy/kafka/build-image.sh
see HAPROXY_IMAGE ackwire/haproxy:latest deploy/haproxy/build-image.sh
