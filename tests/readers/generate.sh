#!/usr/bin/env bash
# Generates the types of proto/ for Python and JavaScript, with the tools that are installed in the folder:
#   tests/readers/generate.sh FOLDER
# makes FOLDER/gen-python and FOLDER/gen-js.
set -euo pipefail
cd "$(dirname "$0")"
readers=$PWD
proto=$PWD/../../proto
cd "$1"
# One at a time: several tests need what this makes.
exec 9>lock
flock 9

# Nothing is made again while another test uses it.
made_of=$(find "$readers" "$proto" -type f ! -name '*.binpb' -print0 | sort -z | xargs -0 sha256sum | sha256sum)
[ "$(cat made-of 2>/dev/null)" != "$made_of" ] || exit 0

mkdir -p gen-python gen-js
plugin=$PWD/node_modules/.bin/protoc-gen-es
out=$PWD
cd "$proto"
mapfile -t files < <(find tradewind -name '*.proto')
"$out/python/bin/python" -m grpc_tools.protoc -I . --python_out="$out/gen-python" "${files[@]}"
"$out/python/bin/python" -m grpc_tools.protoc -I . --plugin=protoc-gen-es="$plugin" \
  --es_out="$out/gen-js" --es_opt=target=js,import_extension=js "${files[@]}"
cp "$readers/read.py" "$readers/read.mjs" "$readers/check_asyncapi.mjs" "$out"
echo "$made_of" > "$out/made-of"
