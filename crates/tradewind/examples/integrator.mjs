// Reads the public events of a shop as they happen, and prints the id, type and position of each.
//
//   npm install @nats-io/transport-node @bufbuild/protobuf @bufbuild/protoc-gen-es
//
// The types are made of proto/, which is in Tradewind's repository, with protoc (or buf):
//
//   protoc -I proto --plugin=node_modules/.bin/protoc-gen-es --es_out gen \
//     --es_opt target=js,import_extension=js $(find proto/tradewind -name '*.proto')

import { readFileSync } from "node:fs";

import { fromBinary } from "@bufbuild/protobuf";
import { connect, nkeyAuthenticator } from "@nats-io/transport-node";

import { EventSchema } from "./gen/tradewind/events/v1/event_pb.js";

const SERVER = process.env.NATS_URL ?? "nats://127.0.0.1:4222";
const KEY_FILE = "here/keys/reports.nk";
const SHOP = "acme";
const SERVICES = ["catalog", "inventory", "order", "payment", "shop"];

async function show(subscription) {
  for await (const message of subscription) {
    const event = fromBinary(EventSchema, message.data);
    const [service, , , name] = message.subject.split(".");
    console.log(event.id, `${service}.${name}`, event.position.toString());
  }
}

const key = new TextEncoder().encode(readFileSync(KEY_FILE, "utf8").trim());
const connection = await connect({
  servers: SERVER,
  authenticator: nkeyAuthenticator(key),
  maxReconnectAttempts: -1,
});
await Promise.all(SERVICES.map((service) => show(connection.subscribe(`${service}.*.${SHOP}.*`))));
