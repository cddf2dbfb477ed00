// Places an order and reads it, with a client generated from the description of the API:
//   node order.js URL
import createClient from "openapi-fetch";
import type { paths } from "./api.js";

const client = createClient<paths>({
  baseUrl: process.argv[2],
  headers: { Authorization: "Bearer secret" },
});

const shop = "acme";
const placed = await client.POST("/v1/shops/{shop}/orders", {
  params: {
    path: { shop },
    header: { "Idempotency-Key": "typescript-1", Prefer: "wait=30" },
  },
  body: { currency: "GBP", lines: [{ sku: "MUG", quantity: 2 }] },
});
if (!placed.data || !("total" in placed.data)) {
  throw new Error(JSON.stringify(placed.error ?? placed.data));
}
const read = await client.GET("/v1/shops/{shop}/orders/{id}", {
  params: { path: { shop, id: placed.data.id } },
});
if (!read.data) {
  throw new Error(JSON.stringify(read.error));
}
const { id, total, status, lines } = read.data;
console.log(JSON.stringify({ same: id === placed.data.id, total, status, sku: lines[0].sku }));

const none = await client.GET("/v1/shops/{shop}/products/{sku}", {
  params: { path: { shop, sku: "NONE" } },
});
console.log(JSON.stringify({ code: none.error?.code, status: none.response.status }));
