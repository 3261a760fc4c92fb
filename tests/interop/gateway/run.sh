#!/usr/bin/env bash
# See README.md. tests/interop/run provides PYTHON and NODE_PATH_DIR, with what requirements.txt and package.json name.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
status=0
"$PYTHON" -B "$here/openai_python.py" || status=1
node --test "$here/openai_node.mjs" || status=1
"$PYTHON" -B "$here/aimock.py" || status=1
exit $status
