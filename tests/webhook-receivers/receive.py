import json
import os
from http.server import BaseHTTPRequestHandler, HTTPServer
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

webhook = Webhook(os.environ["WEBHOOK_SECRET"])
highest, missing = 0, set()  # keep these beside what you make of the deliveries


def is_new(seq):
    """Whether a delivery has not come before; notes which ones before it have not come yet."""
    global highest
    if seq > highest:
        missing.update(range(highest + 1, seq))
        highest = seq
        return True
    late = seq in missing
    missing.discard(seq)
    return late


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            webhook.verify(body, dict(self.headers))
        except WebhookVerificationError:
            self.send_error(400)
            return
        delivery = json.loads(body)
        seq = delivery["meta"]["endpoint_seq"]
        if is_new(seq):
            print(delivery["type"], seq, sorted(missing), flush=True)
        self.send_response(204)
        self.end_headers()


HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Receiver).serve_forever()
