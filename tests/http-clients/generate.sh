#!/usr/bin/env bash
# Generates clients of the HTTP API from its description, with the tools that are installed in the folder:
#   tests/http-clients/generate.sh FOLDER
# makes FOLDER/tradewind_client, the client of Python, and FOLDER/order.js, which uses that of TypeScript.
set -euo pipefail
cd "$(dirname "$0")"
clients=$PWD
document=$PWD/../../docs/openapi.json
cd "$1"

rm -rf tradewind_client
python/bin/openapi-python-client generate --path "$document" --meta none --overwrite \
  --output-path tradewind_client --config "$clients/python.yaml" --fail-on-warning
npx --no-install openapi-typescript "$document" --output api.d.ts --default-non-nullable false
cp "$clients/order.py" "$clients/order.ts" .
npx --no-install tsc --strict --target es2022 --module nodenext --skipLibCheck order.ts
