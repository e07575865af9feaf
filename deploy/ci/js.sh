#!/usr/bin/env bash
# Builds and tests the JavaScript client: `js.sh test` all of it, `js.sh test-if-node` says in one line what is left
# out when there is no Node. ACKWIRE_REQUIRE_NODE=1 makes Node and Chromium a must.
set -euo pipefail
cd "$(dirname "$0")/../../clients/js"

what=${1:-test}
if ! command -v node >/dev/null || ! command -v npm >/dev/null || ! node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)'; then
  if [ "$what" = test-if-node ] && [ "${ACKWIRE_REQUIRE_NODE:-}" != 1 ]; then
    echo "JavaScript client: its tests were left out, there is no Node 20 with npm"
    exit 0
  fi
  echo "JavaScript client: Node 20 or later with npm is needed (deploy/ci/node-install.sh installs them on Debian)" >&2
  exit 1
fi
# npm ci removes what is there, so it runs only when the lock file has changed.
install() {
  if ! cmp -s package-lock.json node_modules/.lock-of-ackwire; then
    npm ci --silent --no-audit --no-fund
    cp package-lock.json node_modules/.lock-of-ackwire
  fi
}
install
npm run --silent build
case "$what" in
build) ;;
check)
  npm run --silent check
  npm run --silent size
  npm run --silent lint-package
  ;;
test | test-if-node)
  npm run --silent check
  npm run --silent size
  npm run --silent lint-package
  npm run --silent test
  (cd ../.. && go build -o bin/ ./embedded/cmd/... ./gateway/cmd/... ./tracker/cmd/... ./processor/cmd/... ./loadtest/cmd/...)
  if command -v chromium >/dev/null || [ "${ACKWIRE_REQUIRE_NODE:-}" = 1 ]; then
    (cd examples/reports && install)
    npm run --silent test:system
  else
    echo "JavaScript client: the tests in a browser were left out, there is no chromium"
  fi
  ;;
*)
  echo "js.sh: no such command: $what" >&2
  exit 2
  ;;
esac
