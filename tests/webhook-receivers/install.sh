#!/usr/bin/env bash
# Installs the published libraries of Standard Webhooks for Python and JavaScript, and Go:
#   tests/webhook-receivers/install.sh FOLDER
# makes FOLDER/python (a virtual environment, with the program go) and FOLDER/node_modules. What is installed
# already is not installed again.
set -euo pipefail
cd "$(dirname "$0")"
receivers=$PWD
folder=$1
mkdir -p "$folder"
cd "$folder"
# One at a time: several tests need what this makes.
exec 9>lock
flock 9

wanted=$(cat "$receivers/requirements.txt" "$receivers/package-lock.json" | sha256sum)
if [ "$(cat installed 2>/dev/null)" = "$wanted" ]; then
  exit 0
fi
if [ ! -x python/bin/python ]; then
  python3 -m venv python
fi
python/bin/pip install --quiet --disable-pip-version-check --requirement "$receivers/requirements.txt"
cp "$receivers/package.json" "$receivers/package-lock.json" .
npm ci --silent --no-fund --no-audit
echo "$wanted" > installed
