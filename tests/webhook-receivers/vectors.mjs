import assert from "node:assert";
import { readFileSync } from "node:fs";
import { Webhook } from "standardwebhooks";

const all = JSON.parse(readFileSync(process.argv[2], "utf8"));
const vectors = all.filter(({ secret }) => secret.startsWith("whsec_"));
for (const { name, secret, id, timestamp, body, signature } of vectors) {
  assert.equal(new Webhook(secret).sign(id, new Date(timestamp * 1000), body), signature, name);
}
console.log(vectors.length, "vectors");
