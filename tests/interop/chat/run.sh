#!/bin/sh
# Installs what the scripts need (kept in tests/.cache) and runs them. See README.md for the environment.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=$here/../../.cache/interop-chat
mkdir -p "$cache"
if ! cmp -s "$here/requirements.txt" "$cache/requirements.txt"; then
    rm -rf "$cache/venv"
    python3 -m venv "$cache/venv"
    "$cache/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$cache/requirements.txt"
fi
if ! cmp -s "$here/package.json" "$cache/package.json" || [ ! -d "$cache/node_modules" ]; then
    cp "$here/package.json" "$cache/package.json"
    (cd "$cache" && npm install --silent --ignore-scripts --no-package-lock --no-audit --no-fund)
fi
AIMOCK=$cache/node_modules/.bin/llmock
export AIMOCK
status=0
for script in chatkit_types.py aimock_provider.py; do
    "$cache/venv/bin/python" -B "$here/$script" || status=1
done
exit $status
