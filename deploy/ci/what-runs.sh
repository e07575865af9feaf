#!/usr/bin/env bash
# Prints which tests a test run includes, and against which broker.
set -euo pipefail
echo "time:                             about 45 minutes on two cores with all that is named here"
echo "units, simulations and processes: embedded broker (kfake)"
if [ "${ACKWIRE_REQUIRE_KAFKA:-}" = 1 ]; then
  echo "container tests:                  Apache Kafka in Docker, required"
elif docker info >/dev/null 2>&1; then
  echo "container tests:                  Apache Kafka in Docker"
else
  echo "container tests:                  SKIPPED, no Docker answers (they are counted as skipped below)"
fi
if command -v prometheus promtool >/dev/null || [ "${ACKWIRE_REQUIRE_PROMETHEUS:-}" = 1 ]; then
  echo "dashboards and alerts:            Prometheus"
else
  echo "dashboards and alerts:            only their form, there is no prometheus (Debian has a package of that name)"
fi
if command -v node >/dev/null && command -v chromium >/dev/null || [ "${ACKWIRE_REQUIRE_NODE:-}" = 1 ]; then
  echo "JavaScript client:                Node, and Chromium against real processes"
elif command -v node >/dev/null; then
  echo "JavaScript client:                Node; SKIPPED in a browser, there is no chromium (Debian has a package of that name)"
else
  echo "JavaScript client:                SKIPPED, there is no Node"
fi
