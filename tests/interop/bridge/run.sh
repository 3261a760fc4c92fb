#!/usr/bin/env bash
# See README.md. tests/interop/run provides the kernel, PYTHON and NODE_PATH_DIR.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
meta=$(mktemp)
trap 'rm -f "$meta"' EXIT
NODE_PATH="$NODE_PATH_DIR/node_modules" node -e 'console.log(JSON.stringify(require("@open-rpc/meta-schema").openrpcDocument))' >"$meta" || exit 1
"$PYTHON" -B "$here/conform.py" "$meta"
