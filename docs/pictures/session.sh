#!/usr/bin/env bash
# Draws docs/pictures/session.svg: a job that outlives a kill -9 of the whole system, as a terminal shows it.
# It needs bin/ackwire, free default ports and github.com/charmbracelet/freeze on the PATH.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
ln -s "$root/bin" bin

say() { printf '\033[1;32m$\033[0m \033[1m%s\033[0m\n' "$1"; }
serve() {
	bin/ackwire serve >>log 2>&1 &
	server=$!
	until curl --silent --fail --output /dev/null http://127.0.0.1:8081/readyz; do sleep 0.1; done
}
{
	say 'bin/ackwire serve >log &'
	serve
	say "bin/ackwire submit demo.sleep '{\"seconds\":6,\"steps\":3}' &"
	bin/ackwire submit demo.sleep '{"seconds":6,"steps":3}' 2>&1 &
	client=$!
	sleep 3
	say 'kill -9 %1                   # gateway, tracker, worker, broker: all of it'
	disown "$server"
	kill -9 "$server"
	sleep 1
	say 'bin/ackwire serve >log &     # and back'
	serve
	wait "$client"
} >session.txt
freeze session.txt --language ansi --window --padding 16,20 --font.size 13 --font.family monospace --output "$root/docs/pictures/session.svg"
