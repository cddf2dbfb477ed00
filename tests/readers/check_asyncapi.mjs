// Parses an AsyncAPI document, and prints what is wrong with it, if anything.
//
//     node check_asyncapi.mjs ../docs/asyncapi.json

import { readFile } from "node:fs/promises";

import { Parser } from "@asyncapi/parser";

const { document, diagnostics } = await new Parser().parse(await readFile(process.argv[2], "utf8"));
const errors = diagnostics.filter((diagnostic) => diagnostic.severity === 0);
for (const { message, path } of errors) {
  console.log(`${path.join(".")}: ${message}`);
}
if (errors.length === 0) {
  console.log(`${document.version()} ${document.allMessages().length} messages`);
}
