"""Follows a text with the Python client of Durable Streams, and prints it when it is closed: follow.py URL

The client of version 0.1 knows no closure: a hook ends it. What a lost run has written is forgotten (410).
"""

import json
import sys
import time

import httpx
from durable_streams import DurableStreamError, stream


class Closed(Exception):
    """The stream is closed: nothing is asked any more."""


class Follower:
    def __init__(self, url):
        self.url, self.text, self.offset, self.closed, self.resets = url, "", "-1", False, 0
        self.client = httpx.Client(event_hooks={"request": [self.asking], "response": [self.answered]}, timeout=30)

    def asking(self, _request):
        if self.closed:
            raise Closed

    def answered(self, response):
        self.closed = response.headers.get("stream-closed") == "true"

    def follow(self):
        """Reads until the stream is closed, or an answer does not come."""
        with stream(self.url, offset=self.offset, live="long-poll", client=self.client) as answers:
            for event in answers.iter_events(mode="text"):
                self.text += event.data
                self.offset = event.next_offset
        raise Closed

    def run(self):
        while True:
            try:
                self.follow()
            except Closed:
                return
            except DurableStreamError as error:
                if error.status == 410:
                    self.text, self.offset, self.resets = "", "-1", self.resets + 1
            except httpx.TransportError:
                pass
            time.sleep(0.1)


follower = Follower(sys.argv[1])
follower.run()
json.dump({"text": follower.text, "resets": follower.resets}, sys.stdout)
