#!/bin/sh
# Starts a broker of docker-compose.yml: formats its log directory once, with the users and passwords that
# `ackwire keys` has made, and then runs the image's own start. Works in the public apache/kafka image and in that of
# build-image.sh.
set -eu
if [ ! -f "$KAFKA_LOG_DIRS/meta.properties" ]; then
  config=/tmp/format.properties
  cat >"$config" <<P
process.roles=$KAFKA_PROCESS_ROLES
node.id=$KAFKA_NODE_ID
controller.quorum.voters=$KAFKA_CONTROLLER_QUORUM_VOTERS
controller.listener.names=$KAFKA_CONTROLLER_LISTENER_NAMES
inter.broker.listener.name=$KAFKA_INTER_BROKER_LISTENER_NAME
listeners=$KAFKA_LISTENERS
advertised.listeners=$KAFKA_ADVERTISED_LISTENERS
listener.security.protocol.map=$KAFKA_LISTENER_SECURITY_PROTOCOL_MAP
log.dirs=$KAFKA_LOG_DIRS
P
  set --
  while read -r user; do set -- "$@" --add-scram "$user"; done </keys/scram
  java -Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp '/opt/kafka/libs/*' kafka.tools.StorageTool format --cluster-id "$CLUSTER_ID" --config "$config" "$@"
fi
for start in /etc/kafka/docker/run /entrypoint.sh; do
  [ ! -x "$start" ] || exec "$start"
done
echo "secured.sh: this image has no start script that is known" >&2
exit 1
