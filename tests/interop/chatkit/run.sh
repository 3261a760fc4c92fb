#!/usr/bin/env bash
# See README.md. tests/interop/run provides PYTHON, with what requirements.txt names.
exec "$PYTHON" -B "$(dirname "${BASH_SOURCE[0]}")/differential.py" "$@"
