#!/usr/bin/env bash
# Sees to the images of others that the compose file's profiles need: those that are not here are
# pulled, and where no registry answers they are built from packages and named in .env, which
# docker compose reads.
#
#	others.sh [core|observe]…
set -euo pipefail
cd "$(dirname "$0")/../.."

say() { echo "images: $*"; }
pull_timeout=120

# see VARIABLE LOCAL BUILDER [ARGUMENT…]
see() {
  local variable=$1 built=$2 image set=
  shift 2
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
    "$@" "$built"
    [ -n "$set" ] || echo "$variable=$built" >>.env
  fi
}

kafka=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' deploy/kafka/pom.xml)
otel=$(sed -n 's:.*go.opentelemetry.io/collector/otelcol v::p' deploy/otel/collector/go.mod)
for profile in "${@:-core}"; do
  case $profile in
    core)
      see KAFKA_IMAGE "ackwire/kafka:$kafka" deploy/kafka/build-image.sh
      see HAPROXY_IMAGE ackwire/haproxy:latest deploy/images/debian.sh haproxy 99 /usr/local/etc/haproxy
      ;;
    observe)
      see PROMETHEUS_IMAGE ackwire/prometheus:latest deploy/images/debian.sh prometheus 65534 /prometheus
      see OTEL_IMAGE "ackwire/otel:$otel" deploy/otel/collector/build-image.sh
      # Grafana is in no package: compose pulls it, or it is left out.
      ;;
    *)
      say "there is no profile $profile" >&2
      exit 1
      ;;
  esac
done
