#!/usr/bin/env bash
# See README.md. tests/interop/run provides the kernel and PYTHON.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
"$PYTHON" -B "$here/prometheus.py"
