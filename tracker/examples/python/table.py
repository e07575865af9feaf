"""Reads the topic view as a table with a plain Kafka client: the latest document of every job.

    KAFKA=localhost:9092 python3 table.py            # print the table as it is now
    KAFKA=localhost:9092 python3 table.py --follow   # and every change from then on

It needs kafka-python and python-snappy, and nothing of Ackwire. It prints one JSON document per line; for a job
that was removed it prints the ID alone.
"""

import json
import os
import sys

from kafka import KafkaConsumer, TopicPartition


def main():
    topic = os.environ.get("TOPIC", "ackwire.view")
    consumer = KafkaConsumer(
        bootstrap_servers=os.environ.get("KAFKA", "localhost:9092").split(","),
        isolation_level="read_committed",  # records of transactions that are open or were aborted do not count
        enable_auto_commit=False,
    )
    partitions = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic) or ()]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)

    table = {}
    while batch := consumer.poll(timeout_ms=3000):  # until no record has come for 3 s
        for records in batch.values():
            for record in records:
                apply(table, record)
    for document in table.values():
        print(json.dumps(document))
    if "--follow" not in sys.argv:
        return
    for record in consumer:
        change = apply(table, record)
        if change:
            print(change, flush=True)


def apply(table, record):
    """Applies one record to the table and returns the line to print, or None."""
    if any(name == "ackwire-kind" for name, _ in record.headers):
        return None  # a record for trackers: a checkpoint, or the name of the partition's owner
    job_id = record.key.decode()
    if record.value is None:
        table.pop(job_id, None)
        return job_id
    table[job_id] = json.loads(record.value)
    return record.value.decode()


if __name__ == "__main__":
    main()
