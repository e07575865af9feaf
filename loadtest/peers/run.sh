#!/usr/bin/env bash
# Measures Ackwire beside River on PostgreSQL and Asynq on Redis, each on a temporary server, whose data is removed in the
# end. A server whose binaries are missing is left out. Arguments are those of the command peers.
set -euo pipefail
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)

dir=$(mktemp -d "${TMPDIR:-/tmp}/ackwire-peers.XXXXXX")
pids=()
finish() {
  for pid in "${pids[@]}"; do kill -INT "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$dir"
}
trap finish EXIT

# Ports below 32768: above, the kernel chooses those of clients.
next=$((20000 + RANDOM % 8000))
port() {
  while (exec 3<>"/dev/tcp/127.0.0.1/$next") 2>/dev/null; do next=$((next + 1)); done
  echo "$next"
}
listens() { # name pid port
  for _ in $(seq 300); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$3") 2>/dev/null; then return 0; fi
    kill -0 "$2" 2>/dev/null || break
    sleep 0.1
  done
  echo "peers: $1 has not started; its log:" >&2
  tail -20 "$dir/$1.log" >&2
  return 1
}

args=()
postgres=$(command -v postgres || ls -d /usr/lib/postgresql/*/bin/postgres 2>/dev/null | sort -V | tail -1 || true)
if [ -n "$postgres" ]; then
  postgres=$(readlink -f "$postgres")
  as=()
  mkdir "$dir/postgres"
  chmod 711 "$dir"
  if [ "$(id -u)" = 0 ]; then # PostgreSQL does not run as root
    chown nobody "$dir/postgres"
    as=(setpriv --reuid=nobody --clear-groups)
  fi
  "${as[@]}" "$(dirname "$postgres")/initdb" -D "$dir/postgres" -A trust -U postgres --no-sync >"$dir/postgres.log" 2>&1
  pg=$(port); next=$((next + 1))
  "${as[@]}" "$postgres" -D "$dir/postgres" -k "$dir/postgres" -c listen_addresses=127.0.0.1 -p "$pg" >>"$dir/postgres.log" 2>&1 &
  pids+=($!)
  listens postgres $! "$pg"
  args+=(--postgres "host=127.0.0.1 port=$pg user=postgres dbname=postgres sslmode=disable")
else
  echo "peers: River is left out: there is no postgres (Debian: apt-get install postgresql)" >&2
fi

if command -v redis-server >/dev/null; then
  redis=$(port); next=$((next + 1))
  mkdir "$dir/redis"
  redis-server --bind 127.0.0.1 --port "$redis" --dir "$dir/redis" --appendonly yes >"$dir/redis.log" 2>&1 &
  pids+=($!)
  listens redis $! "$redis"
  args+=(--redis "127.0.0.1:$redis")
else
  echo "peers: Asynq is left out: there is no redis-server (Debian: apt-get install redis-server)" >&2
fi

serve() { # name, and more arguments of ackwire serve
  local name=$1 client ops tracker kafka
  shift
  client=$(port); next=$((next + 1))
  ops=$(port); next=$((next + 1))
  tracker=$(port); next=$((next + 1))
  kafka=$(port); next=$((next + 1))
  "$root/bin/ackwire" serve --data "$dir/$name" --listen "127.0.0.1:$client" --ops-listen "127.0.0.1:$ops" \
    --tracker-listen "127.0.0.1:$tracker" --kafka-listen "127.0.0.1:$kafka" --log-level error --ask-rate 0 "$@" \
    >"$dir/$name.log" 2>&1 &
  pids+=($!)
  listens "$name" $! "$client"
  url="http://127.0.0.1:$client"
}
serve ackwire
args+=(--ackwire "Ackwire=$url")
serve ackwire-sync --kafka-sync
args+=(--ackwire "Ackwire, kafka-sync=$url")

"$root/bin/peers" "${args[@]}" "$@"
