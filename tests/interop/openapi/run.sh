#!/usr/bin/env bash
# See README.md. tests/interop/run provides the kernel and PYTHON.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
status=0
"$PYTHON" -B "$here/validate.py" || status=1
"$PYTHON" -B "$here/conform.py" || status=1
exit $status
