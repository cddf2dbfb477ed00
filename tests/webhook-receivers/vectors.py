import json
import sys
from datetime import datetime, timezone
from standardwebhooks.webhooks import Webhook

with open(sys.argv[1]) as file:
    vectors = [vector for vector in json.load(file) if vector["secret"].startswith("whsec_")]
for vector in vectors:
    sent = datetime.fromtimestamp(vector["timestamp"], tz=timezone.utc)
    signature = Webhook(vector["secret"]).sign(vector["id"], sent, vector["body"])
    assert signature == vector["signature"], vector["name"]
print(len(vectors), "vectors")
