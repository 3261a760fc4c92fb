#!/usr/bin/env bash
# See README.md. tests/interop/run provides PYTHON and NODE_PATH_DIR, with what requirements.txt and package.json name.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
status=0
"$PYTHON" -B "$here/httpx_client.py" || status=1
node "$here/undici_client.mjs" || status=1
exit $status
