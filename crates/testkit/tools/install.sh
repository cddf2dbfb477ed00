#!/usr/bin/env bash
# Installs the tools that a folder lists in its requirements.txt (Python) and package-lock.json (npm):
#   crates/testkit/tools/install.sh LISTED FOLDER
# makes FOLDER/python (a virtual environment) and FOLDER/node_modules. What is installed already is not installed
# again.
set -euo pipefail
listed=$(cd "$1" && pwd)
folder=$2
mkdir -p "$folder"
cd "$folder"
# One at a time: several tests may need what this makes.
exec 9>lock
flock 9

wanted=$(find "$listed" -maxdepth 1 \( -name requirements.txt -o -name package-lock.json \) -exec cat {} + | sha256sum)
if [ "$(cat installed 2>/dev/null)" = "$wanted" ]; then
  exit 0
fi
if [ -e "$listed/requirements.txt" ]; then
  if [ ! -x python/bin/python ]; then
    python3 -m venv python
  fi
  python/bin/pip install --quiet --disable-pip-version-check --requirement "$listed/requirements.txt"
fi
if [ -e "$listed/package-lock.json" ]; then
  cp "$listed/package.json" "$listed/package-lock.json" .
  npm ci --silent --no-fund --no-audit
fi
echo "$wanted" >installed
