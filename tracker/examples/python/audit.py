"""Reads the topic audit with a plain Kafka client, and prints a table of who did what to whose job.

    KAFKA=localhost:9092 python3 audit.py

It needs kafka-python and python-snappy, and nothing of Ackwire.
"""

import json
import os

COLUMNS = ("at", "deed", "outcome", "who", "token", "job", "owner", "request")


def row(record):
    """Returns the row of one record, a value of the topic."""
    r = json.loads(record)
    owner, grant = r.get("owner"), r.get("grant")
    return (
        r["at"],
        r["deed"],
        r["outcome"],
        r["tenant"] + "/" + r.get("subject", ""),
        r.get("tokenId", ""),
        r.get("jobId", "") or ",".join((grant or {}).get("jobs", [])),
        owner["tenant"] + "/" + owner.get("subject", "") if owner else "",
        r.get("requestId", ""),
    )


def table(rows):
    """Returns the lines of a table."""
    rows = [COLUMNS, *rows]
    widths = [max(len(r[i]) for r in rows) for i in range(len(COLUMNS))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(r, widths)).rstrip() for r in rows]


def main():
    from kafka import KafkaConsumer, TopicPartition

    topic = os.environ.get("TOPIC", "ackwire.audit")
    consumer = KafkaConsumer(
        bootstrap_servers=os.environ.get("KAFKA", "localhost:9092").split(","), enable_auto_commit=False
    )
    partitions = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic) or ()]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    rows = []
    while batch := consumer.poll(timeout_ms=3000):  # until no record has come for 3 s
        rows += [row(record.value) for records in batch.values() for record in records]
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
