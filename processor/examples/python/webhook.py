"""Takes webhooks of Ackwire and verifies them, with nothing of Ackwire's but the secret.

    SECRET=$(bin/ackwire webhook-secret --tenant local) PORT=9000 python3 webhook.py
"""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

webhook = Webhook(os.environ["SECRET"])
refuse = int(os.environ.get("REFUSE", "0"))  # so many are answered with 500 first
seen = set()


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        global refuse
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            webhook.verify(body, dict(self.headers))
        except WebhookVerificationError as err:
            print("not verified:", err)
            return self.answer(401)
        if refuse > 0:
            refuse -= 1
            print("refused", self.headers["webhook-id"])
            return self.answer(500)
        # Delivery is at least once: the ID is the same in every attempt.
        if self.headers["webhook-id"] not in seen:
            seen.add(self.headers["webhook-id"])
            message = json.loads(body)
            print("verified", message["type"], message["data"]["job"]["jobId"])
        self.answer(204)

    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "0"))), Receiver)
print("listens on", server.server_address[1])
server.serve_forever()
