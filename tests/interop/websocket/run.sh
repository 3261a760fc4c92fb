#!/usr/bin/env bash
# See README.md. tests/interop/run provides PYTHON, NODE_PATH_DIR and CRATES_BIN, with what requirements.txt, package.json and
# crates.txt name.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
status=0
"$PYTHON" -B "$here/websockets_client.py" || status=1
node "$here/ws_client.mjs" || status=1
bash "$here/websocat.sh" || status=1
exit $status
