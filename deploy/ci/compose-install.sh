#!/usr/bin/env bash
# Makes sure that there is a compose, v2 or 1.29: installs Debian's package (as root) when
# there is none.
set -euo pipefail

say() { echo "compose-install: $*"; }

if docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null; then
  say "it is there"
  exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  say "there is no docker compose; install it, or run this as root on Debian" >&2
  exit 1
fi
say "installing the package docker-compose"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends docker-compose >/dev/null
