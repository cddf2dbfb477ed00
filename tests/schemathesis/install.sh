#!/usr/bin/env bash
# Installs schemathesis, which tests an HTTP API by its description:
#   tests/schemathesis/install.sh FOLDER
# makes FOLDER/python (a virtual environment). What is installed already is not installed again.
set -euo pipefail
cd "$(dirname "$0")"
requirements=$PWD/requirements.txt
folder=$1
mkdir -p "$folder"
cd "$folder"
# One at a time: several tests may need what this makes.
exec 9>lock
flock 9

wanted=$(sha256sum <"$requirements")
if [ "$(cat installed 2>/dev/null)" = "$wanted" ]; then
  exit 0
fi
if [ ! -x python/bin/python ]; then
  python3 -m venv python
fi
python/bin/pip install --quiet --disable-pip-version-check --requirement "$requirements"
echo "$wanted" >installed
