#!/usr/bin/env bash
# Measures what a new user waits for: the time from `git clone` with empty caches to the first answer of `make run`. In
# the same run it builds a program of only franz-go and Pebble, at the same versions: what no Ackwire can be quicker
# than, as far as neither is left out. It is built twice: as `go build` does it, and with the settings of `make run`.
#
#	measure-start.sh [bare] [same] [ours]
#
# CPU seconds and the ratios say more than times where other programs run. MEASURE_DIR is where to work (/tmp).
set -euo pipefail
cd "$(dirname "$0")/../.."
source=$PWD
work=$(mktemp -d "${MEASURE_DIR:-/tmp}/measure-start.XXXXXX")
running=
clean() {
  [ -z "$running" ] || kill -- "-$running" 2>/dev/null || true
  chmod -R u+w "$work" # the module cache is read-only
  rm -rf "$work"
}
trap clean EXIT
unset GOFLAGS
export GOWORK=off
set -m # a job is a process group of its own, and can be stopped as one

# cpu sets a variable to the CPU seconds of all children that have ended. A subshell would have none.
cpu() {
  times >"$work/times"
  printf -v "$1" %s "$(tail -n 1 "$work/times" | tr 'ms' '  ' | awk '{ print 60 * ($1 + $3) + $2 + $4 }')"
}

declare -A wall used
# begin NAME starts a clock, with empty caches. finish NAME STOP TEXT prints what has passed since then; it calls STOP, if
# it is not empty, before it asks for the CPU seconds, as those of a child count only when it has ended.
begin() {
  export GOMODCACHE=$work/$1.modules GOCACHE=$work/$1.builds
  began=$EPOCHREALTIME
  cpu before
}
finish() {
  local after fetched
  wall[$1]=$(awk "BEGIN { print $EPOCHREALTIME - $began }")
  [ -z "${2:-}" ] || "$2"
  cpu after
  used[$1]=$(awk "BEGIN { print $after - $before }")
  fetched=$(find "$GOMODCACHE/cache/download" -name '*.zip' -printf '%s\n' | awk '{ n += $1 } END { print n / 1e6 }')
  printf '%-52s %6.1f s %8.1f CPU s %8.0f MB of modules\n' "$3" "${wall[$1]}" "${used[$1]}" "$fetched"
  chmod -R u+w "$GOMODCACHE"
  rm -rf "$GOMODCACHE" "$GOCACHE"
}

# The bare program requires what ackwire does, so that the versions are the same.
mkdir "$work/bare"
sed -E '/ackwire/d; /^replace/,$d' embedded/go.mod | sed '1i module bare\n' >"$work/bare/go.mod"
cp embedded/go.sum "$work/bare/"
cat >"$work/bare/main.go" <<'GO'
package main

import (
	"github.com/cockroachdb/pebble/v2"
	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	_, _ = kgo.NewClient()
	_, _ = pebble.Open("", nil)
}
GO

# bare STAGE TEXT SETTING… builds it.
bare() {
  begin "$1"
  (cd "$work/bare" && env "${@:3}" go build -mod=mod -o bare . 2>"$work/log") || { cat "$work/log" >&2; exit 1; }
  finish "$1" "" "$2"
}

stop() {
  kill -- "-$running"
  wait "$running" 2>/dev/null || true
  running=
}
port() { awk 'BEGIN { srand(); print 20000 + int(rand() * 10000) }'; }
first=$(port)
export ACKWIRE_LISTEN=127.0.0.1:$first ACKWIRE_KAFKA_LISTEN=127.0.0.1:$((first + 1)) ACKWIRE_OPS_LISTEN=127.0.0.1:$((first + 2))
ours() {
  local answer
  unset GOWORK
  begin ours
  git clone -q "$source" "$work/clone"
  make -s -C "$work/clone" run >"$work/log" 2>&1 &
  running=$!
  until answer=$(curl -fs -H 'content-type: application/json' -H 'prefer: wait=10' \
    -d '{"job":"demo.echo","payload":"first"}' "http://$ACKWIRE_LISTEN/v1/jobs"); do
    kill -0 "$running" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
    sleep 0.1
  done
  finish ours stop "git clone, make run, first job completed"
  [[ $answer == *'"completed"'* ]] || { echo "the first answer was $answer" >&2; exit 1; }
}

# beside STAGE TEXT prints the ratios of our start to a stage's build, if both were measured.
beside() {
  [[ -v wall[$1] && -v wall[ours] ]] || return 0
  awk "BEGIN { printf \"beside $2: %.2f of its time, %.2f of its CPU seconds\n\", \
    ${wall[ours]} / ${wall[$1]}, ${used[ours]} / ${used[$1]} }"
}

[ $# -gt 0 ] || set -- bare same ours
for stage in "$@"; do
  case $stage in
    bare) bare bare "go build of franz-go and Pebble" ;;
    same) bare same "the same with the settings of make run" $(make -s quick-build) ;;
    ours) ours ;;
    *) echo "there is no stage $stage" >&2; exit 2 ;;
  esac
done
beside bare "go build of franz-go and Pebble"
beside same "the same with the settings of make run"
echo "processors: $(nproc); load: $(cut -d ' ' -f 1-3 /proc/loadavg 2>/dev/null || echo unknown)"
