#!/usr/bin/env bash
# scripts/run keeps what modules keep, conversations among it: over Ctrl-C, over a kernel that is killed, and `midplane store` finds it without being told where.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
mkdir -p "$dir/runtime" "$dir/home"
chmod 0700 "$dir/runtime"
socket=$dir/runtime/midplane/kernel.sock
notes=$(artifact notes)

surroundings=(
    -u MIDPLANE_CONFIG -u MIDPLANE_SOCKET -u MIDPLANE_LOG -u OPENAI_API_KEY -u XDG_DATA_HOME
    XDG_RUNTIME_DIR="$dir/runtime" XDG_CONFIG_HOME="$dir/config" HOME="$dir/home" NO_COLOR=1
)
run() {
    : >"$log"
    # Without job control a shell has what it runs in the background ignore Ctrl-C.
    set -m
    env "${surroundings[@]}" "$root/scripts/run" --debug --no-build --module "notes=$notes" 2>"$log" &
    kernel=$!
    set +m
    eventually logged " ready on "
    host_key=$(cat "$dir/runtime/midplane/host.key")
    token=$(session '{"user": "ada", "modules": ["notes", "chat"]}')
}
note() { as "$token" "$1" "/api/notes/notes/$2" "${@:3}"; }
chat() { as "$token" POST /api/chat/chatkit --no-buffer --json "$1"; }
said='{"content":[{"type":"input_text","text":"good morning to you"}],"attachments":[],"inference_options":{}}'
# How many threads there are, and what was said in the newest, by both.
history() {
    chat '{"type":"threads.list","params":{}}'
    local threads thread
    threads=$(json 'len(a["data"])')
    thread=$(json 'a["data"][0]["id"]')
    chat "{\"type\":\"items.list\",\"params\":{\"thread_id\":\"$thread\",\"order\":\"asc\"}}"
    json "[$threads] + [i['content'][0]['text'] for i in a['data']]"
}
store() { env "${surroundings[@]}" "$target/midplane" store "$@"; }

run
logged "scripts/run: once it says" || fail "it does not say what to do next"
note PUT first --data-binary "kept over Ctrl-C"
expect 200
chat "{\"type\":\"threads.create\",\"params\":{\"input\":$said}}"
expect 200
kill -INT "$kernel"
wait "$kernel" || fail "Ctrl-C ended it with $?"

run
note GET first
equal "after Ctrl-C" "$body" "kept over Ctrl-C"
equal "after Ctrl-C" "$(history)" '[1, "good morning to you", "good morning to you"]'
note PUT second --data-binary "kept over kill -9"
expect 200
contains "beside the kernel" "$(store stats)" "open in $kernel"
kill -KILL "$kernel"
wait "$kernel" 2>/dev/null || true

contains "after it" "$(store stats)" "open in no kernel"
contains "after it" "$(store check)" " is sound"
run
note GET second
equal "after kill -9" "$body" "kept over kill -9"
equal "after kill -9" "$(history)" '[1, "good morning to you", "good morning to you"]'
equal "notes" "$(store stats --json | python3 -c '
import json, sys
print([(m["module"], m["entries"]) for m in json.load(sys.stdin)["modules"] if m["module"] == "notes"])')" "[('notes', 2)]"
kill -TERM "$kernel"
wait "$kernel" || fail "SIGTERM ended it with $?"
kernel=
