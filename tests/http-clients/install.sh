#!/usr/bin/env bash
# Installs what generates clients of the HTTP API from its description, the usual tools of two languages:
#   tests/http-clients/install.sh FOLDER
# makes FOLDER/python (a virtual environment) and FOLDER/node_modules. What is installed already is not installed again.
set -euo pipefail
cd "$(dirname "$0")"
clients=$PWD
folder=$1
mkdir -p "$folder"
cd "$folder"
# One at a time: several tests may need what this makes.
exec 9>lock
flock 9

wanted=$(cat "$clients/requirements.txt" "$clients/package-lock.json" | sha256sum)
if [ "$(cat installed 2>/dev/null)" = "$wanted" ]; then
  exit 0
fi
if [ ! -x python/bin/python ]; then
  python3 -m venv python
fi
python/bin/pip install --quiet --disable-pip-version-check --requirement "$clients/requirements.txt"
cp "$clients/package.json" "$clients/package-lock.json" .
npm ci --silent --no-fund --no-audit
echo "$wanted" >installed
