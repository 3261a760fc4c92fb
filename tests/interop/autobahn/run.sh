#!/usr/bin/env bash
# See README.md. tests/interop/run provides PYTHON, with what requirements.txt names.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
status=0
"$PYTHON" -B "$here/conform.py" || status=1
if [[ -n ${WSTEST:-} ]]; then
    echo "the original runner, $WSTEST:"
    "$PYTHON" -B "$here/conform.py" --wstest "$WSTEST" || status=1
fi
exit $status
