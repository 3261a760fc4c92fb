#!/usr/bin/env bash
# See README.md. tests/interop/run provides PYTHON and NODE_PATH_DIR, with what requirements.txt and package.json name.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}/debug
work=$(mktemp -d "${TMPDIR:-/tmp}/midplane-readme.XXXXXX")
mkfifo "$work/config"
"$PYTHON" -B "$here/provider.py" "$MIDPLANE_SECRET" "$here/midplane.toml" >"$work/config" &
provider=$!
trap 'kill "$provider"; rm -rf "$work"' EXIT
# What a reader has at hand: the programs, the socket, and in this directory the packages that an example imports.
PATH=$target:$(dirname "$PYTHON"):$PATH
export PATH
export SOCKET=$MIDPLANE_SOCKET
read -r config <"$work/config" || exit 1
midplane call POST '/modules/chat/reload?wait=drained' -H 'content-type: application/json' -d "{\"config\": $config}" >/dev/null || exit 1
ln -s "$NODE_PATH_DIR/node_modules" "$work/node_modules"
cd "$work" && "$PYTHON" -B "$here/readme.py" "$root/modules/chat/README.md"
