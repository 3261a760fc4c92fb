#!/usr/bin/env bash
# See README.md. tests/interop/run provides JWS, PYTHON and NODE_PATH_DIR.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
status=0
"$PYTHON" -B "$here/pyjwt.py" || status=1
node "$here/jose_check.mjs" || status=1
exit $status
