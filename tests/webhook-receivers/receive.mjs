import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const webhook = new Webhook(process.env.WEBHOOK_SECRET);
let highest = 0; // keep these beside what you make of the deliveries
const missing = new Set();

// Whether a delivery has not come before; notes which ones before it have not come yet.
function isNew(seq) {
  if (seq <= highest) return missing.delete(seq);
  for (let gap = highest + 1; gap < seq; gap++) missing.add(gap);
  highest = seq;
  return true;
}

createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks).toString();
  try {
    webhook.verify(body, request.headers);
  } catch {
    return response.writeHead(400).end();
  }
  const delivery = JSON.parse(body);
  const seq = delivery.meta.endpoint_seq;
  if (isNew(seq)) console.log(delivery.type, seq, JSON.stringify([...missing].sort((a, b) => a - b)));
  response.writeHead(204).end();
}).listen(Number(process.env.PORT), "127.0.0.1");
