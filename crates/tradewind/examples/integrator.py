"""Reads the public events of a shop as they happen, and prints the id, type and position of each.

    pip install 'nats-py[nkeys]' protobuf grpcio-tools

The types are made of proto/, which is in Tradewind's repository:

    python -m grpc_tools.protoc -I proto --python_out . $(find proto/tradewind -name '*.proto')
"""

import asyncio
import os

import nats
from tradewind.events.v1.event_pb2 import Event

SERVER = os.environ.get("NATS_URL", "nats://127.0.0.1:4222")
KEY_FILE = "here/keys/reports.nk"
SHOP = "acme"
SERVICES = ["catalog", "inventory", "order", "payment", "shop"]


async def show(message):
    event = Event.FromString(message.data)
    service, _partition, _shop, name = message.subject.split(".")
    print(event.id, f"{service}.{name}", event.position, flush=True)


async def main():
    connection = await nats.connect(SERVER, nkeys_seed=KEY_FILE, max_reconnect_attempts=-1)
    for service in SERVICES:
        await connection.subscribe(f"{service}.*.{SHOP}.*", cb=show)
    await asyncio.Event().wait()


asyncio.run(main())
