#!/usr/bin/env bash
# Makes sure that prometheus and promtool are there: installs them (Debian, as root) when
# they are not. Tests start a server of their own; the package's service is not needed.
set -euo pipefail

say() { echo "prometheus-install: $*"; }

if command -v prometheus >/dev/null && command -v promtool >/dev/null; then
  say "they are there"
  exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  say "there is no prometheus; install it, or run this as root on Debian" >&2
  exit 1
fi
say "installing the package prometheus"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends prometheus >/dev/null
