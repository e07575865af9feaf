#!/usr/bin/env bash
# Makes sure that a Docker engine answers: installs it (Debian, as root) when there is
# none, and starts it when none runs.
set -euo pipefail

answers() { docker info >/dev/null 2>&1; }
say() { echo "docker-up: $*"; }

if answers; then
  say "an engine answers"
  exit 0
fi
if ! command -v dockerd >/dev/null; then
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say "there is no dockerd; install Docker, or run this as root on Debian" >&2
    exit 1
  fi
  say "installing the package docker.io"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends docker.io iptables >/dev/null
fi
log=$(mktemp -t dockerd.XXXXXX.log)
# The second try is for kernels without overlayfs or iptables: the tests' published ports then go
# through docker-proxy.
for options in "" "--storage-driver=vfs --iptables=false --ip6tables=false"; do
  say "starting dockerd $options"
  # shellcheck disable=SC2086 # options are words
  nohup setsid dockerd $options >>"$log" 2>&1 </dev/null &
  pid=$!
  for _ in $(seq 1 120); do
    if answers; then
      say "ready"
      exit 0
    fi
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.5
  done
  kill "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
done
say "dockerd did not start; its log ($log) ends:" >&2
tail -n 30 "$log" >&2
exit 1
