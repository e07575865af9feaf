#!/usr/bin/env bash
# Pulls the third-party images that the compose file's profiles need. Those that cannot be pulled are built
# from packages and named in .env, which docker compose reads.
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
      # There is no package of Grafana: compose pulls its image, or it must be left out.
      ;;
    *)
      say "there is no profile $profile" >&2
      exit 1
      ;;
  esac
done
