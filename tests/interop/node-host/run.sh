#!/usr/bin/env bash
# See README.md. tests/interop/run provides NODE_PATH_DIR, with what package.json names.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
"$root/sdk/node/scripts/build" || exit 1
MIDPLANE_BINARY=${CARGO_TARGET_DIR:-$root/target}/debug/midplane node --test "$here/provider_clients.mjs"
