#!/bin/sh
# Starts one broker as the public apache/kafka image does: KAFKA_* variables become the
# configuration, the log directory is formatted once, then the broker runs as process 1.
set -eu
export CLUSTER_ID="${CLUSTER_ID:-5L6g3nShT-eMCtK--X86sw}"
out=/opt/kafka/config
java() { /opt/java/bin/java "$@"; }
# On a second start the wrapper exits with 1 because the directory is formatted already. Only this error
# is ignored.
if ! message=$(java -Xmx128m -cp '/opt/kafka/libs/*' kafka.docker.KafkaDockerWrapper setup \
    --default-configs-dir /etc/kafka/docker \
    --mounted-configs-dir /mnt/shared/config \
    --final-configs-dir "$out" 2>&1); then
  case "$message" in
    *"already formatted"*) ;;
    *) echo "$message" >&2; exit 1 ;;
  esac
fi
exec /opt/java/bin/java ${KAFKA_HEAP_OPTS:--Xms128m -Xmx256m} -XX:+UseSerialGC -XX:TieredStopAtLevel=4 -Djava.awt.headless=true \
  -Dlog4j2.configurationFile="$out/log4j2.yaml" -cp '/opt/kafka/libs/*' kafka.Kafka "$out/server.properties"
