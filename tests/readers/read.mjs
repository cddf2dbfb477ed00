// Reads the first COUNT events of a stream, in order, and prints a line of JSON for each.
//
//     node read.mjs nats://localhost:4222 ORDERS COUNT

import { fromBinary } from "@bufbuild/protobuf";
import { jetstream } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";

import { EventSchema } from "./gen-js/tradewind/events/v1/event_pb.js";

const [url, stream, count] = process.argv.slice(2);
// The library takes user and password apart from the address.
const { host, username: user, password: pass } = new URL(url);
const connection = await connect({ servers: host, ...(user && { user, pass }) });
const consumer = await jetstream(connection).consumers.get(stream);
let left = Number(count);
for await (const message of await consumer.consume()) {
  const event = fromBinary(EventSchema, message.data);
  const service = event.body;
  console.log(JSON.stringify({
    id: event.id,
    type: `${service.case}.${message.subject.split(".").at(-1)}`,
    kind: service.value.kind.case,
    shop: event.shop,
    aggregate: event.aggregateId,
    version: event.aggregateVersion.toString(),
    position: event.position.toString(),
  }));
  left -= 1;
  if (left === 0) break;
}
await connection.close();
