"""Reads the first COUNT events of a stream, in order, and prints a line of JSON for each.

    python read.py nats://localhost:4222 ORDERS COUNT
"""

import asyncio
import json
import sys

sys.path.insert(0, "gen-python")

import nats
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from tradewind.events.v1.event_pb2 import Event


async def main(url: str, stream: str, count: int) -> None:
    connection = await nats.connect(url)
    events = await connection.jetstream().subscribe(
        ">",
        stream=stream,
        ordered_consumer=True,
        config=ConsumerConfig(deliver_policy=DeliverPolicy.ALL, ack_policy=AckPolicy.NONE),
    )
    for _ in range(count):
        message = await events.next_msg(timeout=30)
        event = Event.FromString(message.data)
        service = event.WhichOneof("body")
        kind = getattr(event, service).WhichOneof("kind")
        print(json.dumps({
            "id": event.id,
            "type": f"{service}.{kind}",
            "shop": event.shop,
            "aggregate": event.aggregate_id,
            "version": str(event.aggregate_version),
            "position": str(event.position),
        }))
    await connection.close()


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
