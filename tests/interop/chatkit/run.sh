#!/usr/bin/env bash
# See README.md. tests/interop/run provides PYTHON, with what requirements.txt names.
here=$(dirname "${BASH_SOURCE[0]}")
status=0
for script in differential.py sweep.py; do
    "$PYTHON" -B "$here/$script" || status=1
done
exit $status
