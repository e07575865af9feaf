"""A complete Ackwire worker on kafka-python: it takes jobs from one lane and runs them, one
at a time. README.md beside this file explains each step; the numbers are its steps."""

import json
import os
import re
import signal
import sys
import threading
import time
import uuid
from collections import namedtuple
from datetime import datetime, timezone

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import CorruptRecordError, KafkaError, MessageSizeTooLargeError, UnsupportedCodecError
from kafka.partitioner.default import murmur2
from kafka.structs import OffsetAndMetadata

BROKERS = os.environ.get("KAFKA", "127.0.0.1:9092").split(",")
PREFIX = os.environ.get("PREFIX", "ackwire.")
LANE = os.environ.get("LANE", "python")
WORKER = os.environ.get("WORKER", "python-" + uuid.uuid4().hex[:8])


def security():
    """The settings by which both clients connect. Without KAFKA_TLS and KAFKA_SASL it is a Kafka without security."""
    tls, sasl = os.environ.get("KAFKA_TLS") == "1", os.environ.get("KAFKA_SASL", "")
    settings = {"security_protocol": ("SASL_" if sasl else "") + ("SSL" if tls else "PLAINTEXT")}
    if tls:
        settings.update(ssl_cafile=os.environ.get("KAFKA_CA"), ssl_certfile=os.environ.get("KAFKA_CERT"),
                        ssl_keyfile=os.environ.get("KAFKA_KEY"))
    if sasl:  # PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512
        with open(os.environ["KAFKA_PASSWORD_FILE"]) as f:
            settings.update(sasl_mechanism=sasl, sasl_plain_username=os.environ["KAFKA_USER"],
                            sasl_plain_password=f.readline().rstrip("\r\n"))
    return settings


GRACE = 2.0  # seconds that a running job may go on when the worker stops
STATES = ("pending", "scheduled", "queued", "processing", "retrying", "completed", "failed", "cancelled")


def count_words(payload, run):
    """The handler of text.count: {"text": …, "seconds": …} → {"words": …}; each word goes to the stream words."""
    if "text" not in payload:
        raise Permanent("no_text", "text is missing")
    if payload.get("failures", 0) >= run.attempt:
        raise Retryable("not_yet", f"attempt {run.attempt} was told to fail")
    words = payload["text"].split()
    stream = run.stream("words")
    for i, word in enumerate(words):
        stream.write(word + " ")
        if run.cancelled.wait(payload.get("seconds", 0) / len(words)):
            return None
        run.progress(100 * (i + 1) / len(words), f"word {i + 1} of {len(words)}", stage="count")
    return {"words": len(words)}


HANDLERS = {"text.count": count_words}


class Failure(Exception):
    retryable = True

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Retryable(Failure):
    pass


class Permanent(Failure):
    retryable = False


def check(ok, what):
    if not ok:
        raise ValueError(f"not valid: {what}")


def check_policy(p):
    """The bounds of schemas/jsonschema/defs.json: the tracker takes no claim with another policy."""
    def number(v, most):
        return type(v) in (int, float) and 0 <= v <= most

    check(type(p["attempts"]) is int and 1 <= p["attempts"] <= 1000, "attempts")
    backoff, century = p["backoff"], 100 * 365 * 24 * 3600
    check(number(backoff["factor"], 100), "factor")
    for v in (backoff["initial"], backoff["cap"], p["lease"], p["grace"], p["retention"], p.get("timeout", 0), p.get("deadline", 0)):
        check(number(v, century), "seconds")
    check(p["lease"] > 0, "lease")


def no_constant(name):
    raise ValueError(f"{name} is not JSON")


class Run:
    """One execution of one job. Its ID, the run, is the fencing token."""

    def __init__(self, worker, rec, headers):
        self.worker, self.id = worker, uuid.uuid4().hex
        self.job = headers["ce_id"]
        self.type = headers["ce_type"]
        self.dispatch = int(headers["ackwire-dispatch"])
        self.attempt = int(headers["ackwire-attempt"])
        policy = json.loads(headers["ackwire-policy"], parse_constant=no_constant)
        # A claim that the tracker cannot read would be said again for ever.
        check_policy(policy)
        self.lease = policy["lease"]
        check(1 <= self.dispatch < 2**31 and 1 <= self.attempt < 2**31, "dispatch, attempt")
        for name, value in headers.items():
            check(len(value) <= 256 or name not in ("ce_id", "ce_type", "ackwire-tenant", "ackwire-subject", "ackwire-payload-hash"), name)
        check(all(headers[k] for k in ("ce_id", "ce_type", "ackwire-tenant", "ackwire-payload-hash")), "an empty header")
        check(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", headers.get("ackwire-life", "x")), "ackwire-life")
        check(len(headers.get("ackwire-callback-url", "")) <= 2048, "ackwire-callback-url")
        # A payload that is too large for Kafka is in the blob store, under this key.
        self.blob = headers.get("ackwire-payload-blob", "")
        check(not self.blob or self.blob.startswith(f"payloads/{self.job}/") and ".." not in self.blob, "ackwire-payload-blob")
        # Step 3: the claim carries all that makes a job, in case it overtakes accepted.
        self.claim = {
            "type": "claimed", "job": self.type, "tenant": headers["ackwire-tenant"], "lane": LANE,
            "payloadHash": headers["ackwire-payload-hash"], "policy": policy,
            "request": {"topic": rec.topic, "partition": rec.partition, "offset": rec.offset},
        }
        for header, field in (("ackwire-subject", "subject"), ("ackwire-life", "life"), ("ackwire-callback-url", "callbackUrl")):
            if header in headers:
                self.claim[field] = headers[header]
        if headers.get("ackwire-callback-events"):
            events = headers["ackwire-callback-events"].split(",")
            check(len(events) <= len(STATES) and all(e in STATES for e in events), "ackwire-callback-events")
            self.claim["callbackEvents"] = events
        if headers.get("ackwire-tags"):
            self.claim["tags"] = json.loads(headers["ackwire-tags"])
        if rec.timestamp_type == 1:  # LogAppendTime: the broker's clock
            self.claim["requestedAt"] = datetime.fromtimestamp(rec.timestamp / 1000, timezone.utc).isoformat()
        self.streams = {}
        self.granted, self.cancelled, self.stopped = threading.Event(), threading.Event(), threading.Event()
        self.quit = False
        self.renewed = self.said = time.monotonic()

    def say(self, event, wait=None):
        """Append an event of this run; with wait, only return once it is durable."""
        event.update(v=1, jobId=self.job, dispatch=self.dispatch, run=self.id, worker=WORKER)
        self.said = now = time.monotonic()
        future = self.worker.producer.send(PREFIX + "status", key=self.job.encode(),
                                           value=json.dumps(event).encode())
        if wait is not None:
            future.get(timeout=wait)
            self.renewed = now
        else:
            future.add_callback(lambda _: setattr(self, "renewed", max(self.renewed, now)))

    def progress(self, percent, message="", **more):
        """more is current, total, stage (a-z0-9_.-, 64 at most) and data (4 KiB of JSON at most)."""
        if time.monotonic() - self.said >= 0.25:  # four per second at most
            self.say({"type": "progress", "progress": {"percent": percent, "message": message, **more}})

    def stream(self, name):
        """One of the job's streams of text, of at most eight."""
        return self.streams.setdefault(name, Stream(self, name))

    def until_durable(self, event):
        """Steps 4 and 10: the same event again until it is durable, or the run is stopped."""
        while not self.stopped.is_set():
            try:
                self.say(dict(event), wait=5)
                return True
            except Exception as e:  # noqa: BLE001: whatever Kafka has, it is tried again
                print("not durable yet:", e, file=sys.stderr)
                time.sleep(0.25)
        return False


class Stream:
    """A text that the run writes while it works: a record for each piece, at most 32 KiB, cut between two characters."""

    def __init__(self, run, name):
        self.run, self.name, self.total, self.pieces = run, name, 0, []

    def write(self, text):
        data = text.encode(errors="replace")
        while data and not self.run.stopped.is_set():
            n = min(len(data), 32768)
            while n < len(data) and data[n] & 0xC0 == 0x80:  # not within a character
                n -= 1
            headers = {"ackwire-v": "1", "ackwire-stream": self.name, "ackwire-stream-kind": "text", "ackwire-run": self.run.id,
                       "ackwire-dispatch": str(self.run.dispatch), "ackwire-stream-from": str(self.total)}
            self.pieces.append(self.run.worker.producer.send(
                PREFIX + "streams", key=self.run.job.encode(), value=data[:n], headers=[(k, v.encode()) for k, v in headers.items()]))
            self.total, data = self.total + n, data[n:]

    def end(self):
        """Step 8: all pieces are durable before the last event says how many bytes there are."""
        for piece in self.pieces:
            piece.get(timeout=10)
        return {"kind": "text", "total": self.total}


Place = namedtuple("Place", "topic partition offset key value headers")


class Worker:
    def __init__(self):
        self.stopping = threading.Event()
        self.run = None
        self.unread = None  # why the last poll failed
        self.producer = KafkaProducer(bootstrap_servers=BROKERS, acks="all", linger_ms=0, **security())
        # Step 1: orders for this worker come to the partition of its name, without a group.
        self.orders = KafkaConsumer(bootstrap_servers=BROKERS, enable_auto_commit=False, **security())
        partitions = self.orders.partitions_for_topic(PREFIX + "control")
        home = TopicPartition(PREFIX + "control", (murmur2(WORKER.encode()) & 0x7FFFFFFF) % len(partitions))
        self.orders.assign([home])
        self.orders.seek(home, self.orders.end_offsets([home])[home])  # as it is before the first claim
        # Step 2: requests come by the lane's consumer group, one at a time.
        self.requests = KafkaConsumer(
            PREFIX + "requests." + LANE, bootstrap_servers=BROKERS, group_id=PREFIX + "processor." + LANE,
            enable_auto_commit=False, auto_offset_reset="earliest", max_poll_records=1,
            session_timeout_ms=10000, heartbeat_interval_ms=2000, **security())

    def hear(self):
        """Steps 5 and 9: granted, stop and quit."""
        while not self.stopping.is_set():
            for records in self.orders.poll(timeout_ms=200).values():
                for rec in records:
                    try:
                        order = json.loads(rec.value)
                    except ValueError:
                        continue
                    run = self.run
                    if run is None or order.get("run") != run.id or order.get("worker") != WORKER:
                        continue  # another worker's, or a run that has ended
                    if order["type"] == "granted":
                        run.granted.set()
                    elif order["type"] == "quit":
                        run.quit = True
                        run.granted.set()
                        run.cancelled.set()
                    elif order["type"] == "stop":
                        run.stopped.set()
                        run.granted.set()
                        run.cancelled.set()

    def bury(self, rec, reason):
        """What nobody can read goes to dead, with the reason; then the offset moves on."""
        print(f"{rec.topic}/{rec.partition} at {rec.offset} is not a request: {reason}", file=sys.stderr, flush=True)
        why = [(k, str(v).encode(errors="replace")) for k, v in {
            "ackwire-dead-reason": "bad_request", "ackwire-dead-detail": reason, "ackwire-dead-topic": rec.topic,
            "ackwire-dead-partition": rec.partition, "ackwire-dead-offset": rec.offset,
            "ackwire-dead-by": "processor"}.items()]
        key, value, headers = rec.key, rec.value, list(rec.headers or [])
        while not self.stopping.is_set():
            try:
                if key is None and value is None:
                    value = b""  # kafka-python sends no record that has neither
                self.producer.send(PREFIX + "dead", key=key, value=value, headers=[(k, v or b"") for k, v in headers] + why).get(timeout=10)
                self.commit(rec)
                return
            except MessageSizeTooLargeError:  # with the reason it does not fit; its place says where it is
                if not value:
                    key, headers = None, []
                value = None
            except Exception as e:  # noqa: BLE001: whatever Kafka has, it is tried again
                print("not durable yet:", e, file=sys.stderr)
                time.sleep(0.25)
            self.keep_in_group()

    def commit(self, rec):
        try:
            self.requests.commit({TopicPartition(rec.topic, rec.partition): OffsetAndMetadata(rec.offset + 1, "", -1)})
        except Exception as e:  # noqa: BLE001: another worker has the partition, and gets the record again
            print("not committed:", e, file=sys.stderr)

    def read(self, rec):
        """All that is read of a record: whatever is wrong with it is raised here."""
        headers = {k: (v or b"").decode() for k, v in rec.headers or [] if k.startswith(("ackwire-", "ce_"))}
        if headers["ackwire-v"] != "1" or (rec.key or b"").decode() != headers["ce_id"]:
            raise ValueError("unknown version, or the key is another job's")
        run = Run(self, rec, headers)
        payload = None if run.blob else json.loads(rec.value or b"")
        return run, payload

    def take(self, rec):
        try:
            run, payload = self.read(rec)
        except Exception as e:  # noqa: BLE001: one record never stops the worker, whatever it says
            self.bury(rec, repr(e)[:500])
            return
        self.run = run
        try:
            self.execute(rec, run, payload)
        finally:
            self.run = None

    def execute(self, rec, run, payload):
        if not run.until_durable(run.claim):
            self.commit(rec)  # refused: the tracker has read it, so it is durable
            return
        self.commit(rec)  # Step 6: from here on the lease owns the job, not Kafka
        while not run.granted.wait(0.1):  # Step 5: waiting always is the simplest that is right
            self.keep_in_group()
            if self.stopping.is_set():
                run.until_durable({"type": "released"})
                return
            if time.monotonic() - run.said > run.lease / 3:
                run.say(dict(run.claim))  # the same run; a beat would never be answered
        if run.stopped.is_set():
            return
        outcome = {}
        thread = threading.Thread(target=self.handle, args=(run, payload, outcome), daemon=True)
        if not run.quit:
            thread.start()
        deadline = None
        while thread.is_alive():
            thread.join(0.1)
            self.keep_in_group()
            now = time.monotonic()
            if run.stopped.is_set():
                return  # Step 9: without another word
            if now - run.renewed > run.lease * 0.9:
                run.cancelled.set()  # Step 7: somebody else may hold it soon
                return
            if now - run.said > run.lease / 3:
                run.say({"type": "beat"})
            if self.stopping.is_set():
                deadline = deadline or now + GRACE
                if now > deadline:  # Step 11: continued elsewhere, at no cost
                    run.cancelled.set()
                    run.until_durable({"type": "released"})
                    return
        if run.quit:
            outcome = {"type": "failed", "error": {"code": "cancelled", "message": "cancelled while it ran", "retryable": False}}
        run.until_durable(outcome)  # Step 10

    def handle(self, run, payload, outcome):
        try:
            handler = HANDLERS.get(run.type)
            if handler is None:
                # Not the job's failure: it goes back at no cost, and out again after a pause that grows.
                error = {"code": "no_handler", "message": f"this worker has no handler for {run.type}", "retryable": True}
                outcome.update(type="released", error=error)
                return
            if run.blob:  # so does one whose payload this worker cannot fetch: it has no blob store
                error = {"code": "no_blob_store", "message": f"the payload is in the blob store: {run.blob}", "retryable": True}
                outcome.update(type="released", error=error)
                return
            outcome.update(type="completed", result=handler(payload, run))
        except Failure as e:
            outcome.update(type="failed", error={"code": e.code, "message": str(e), "retryable": e.retryable})
        except Exception as e:  # noqa: BLE001: a handler's bug is its job's failure, not the worker's
            outcome.update(type="failed", error={"code": "handler_panic", "message": repr(e)[:500], "retryable": True})
        try:
            if run.streams:
                outcome["streams"] = {s.name: s.end() for s in run.streams.values()}
        except Exception as e:  # noqa: BLE001: whatever Kafka has, another attempt may write it
            outcome.pop("result", None)
            outcome.update(type="failed", error={"code": "stream_not_stored", "message": repr(e)[:500], "retryable": True})

    def keep_in_group(self):
        """A consumer that does not poll is put out of its group; paused, it gets nothing."""
        self.requests.pause(*self.requests.assignment())
        try:
            self.requests.poll(timeout_ms=0)
        except Exception as e:  # noqa: BLE001: serve looks at it
            self.unread = e

    def skip_unreadable(self, why):
        """What kafka-python cannot decode goes to dead by its place, and the worker goes on behind it.
        The library does not say where that is, and hangs when it is asked again: another consumer looks."""
        print("not decoded:", repr(why), file=sys.stderr, flush=True)
        for tp, end in self.requests.end_offsets(list(self.requests.assignment())).items():
            at = self.requests.position(tp)
            if at >= end:
                continue
            probe = KafkaConsumer(bootstrap_servers=BROKERS, enable_auto_commit=False, max_poll_records=1,
                                  **security())
            try:
                probe.assign([tp])
                probe.seek(tp, at)
                probe.poll(timeout_ms=1000)
            except Exception as e:  # noqa: BLE001: a header that is not UTF-8, an unknown compression, …
                if not isinstance(e, KafkaError) or isinstance(e, (CorruptRecordError, UnsupportedCodecError)):
                    self.bury(Place(tp.topic, tp.partition, at, None, None, None), f"not decoded: {e!r}"[:500])
                    self.requests.seek(tp, at + 1)
                    return
            finally:
                probe.close(autocommit=False)

    def serve(self):
        for s in (signal.SIGTERM, signal.SIGINT):
            signal.signal(s, lambda *_: self.stopping.set())
        hearing = threading.Thread(target=self.hear)
        hearing.start()
        print("worker", WORKER, "takes jobs of lane", LANE, flush=True)
        while not self.stopping.is_set():
            self.requests.resume(*self.requests.paused())
            polled = {}
            try:
                if self.unread is None:
                    polled = self.requests.poll(timeout_ms=200)
            except Exception as e:  # noqa: BLE001: one record never stops the worker, whatever it is
                self.unread = e
            if self.unread is not None:
                why, self.unread = self.unread, None
                self.skip_unreadable(why)
            for records in polled.values():
                for rec in records:
                    self.take(rec)
        hearing.join()
        self.requests.close()
        self.orders.close()
        self.producer.close()


if __name__ == "__main__":
    Worker().serve()
