#!/usr/bin/env bash
# Generates the types of proto/ for Python and JavaScript, with the tools of these languages:
#   tests/readers/generate.sh FOLDER
# makes FOLDER/python (a virtual environment), FOLDER/node_modules, and the types in FOLDER/gen-python and
# FOLDER/gen-js. What is installed already is not installed again.
set -euo pipefail
cd "$(dirname "$0")"
readers=$PWD
proto=$PWD/../../proto
folder=$1
mkdir -p "$folder"
cd "$folder"
# One at a time: several tests need what this makes.
exec 9>lock
flock 9

# Nothing is made again while another test uses it.
made_of=$(find "$readers" "$proto" -type f ! -name '*.binpb' -print0 | sort -z | xargs -0 sha256sum | sha256sum)
[ "$(cat made-of 2>/dev/null)" != "$made_of" ] || exit 0

if [ ! -x python/bin/python ]; then
  python3 -m venv python
fi
python/bin/pip install --quiet --disable-pip-version-check --requirement "$readers/requirements.txt"
cp "$readers/package.json" "$readers/package-lock.json" .
npm ci --silent --no-fund --no-audit

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
