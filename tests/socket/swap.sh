#!/usr/bin/env bash
# `midplane module` by hand: what a swap says while a request is under way on the old version, and what when it is over.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
start --module "keeper=$(artifact keeper_v1)"
token=$(session '{"modules":["chat"]}')
midplane() { "$target/midplane" "$@" --socket "$socket"; }
in_flight() {
    host GET /modules/chat
    [[ $(json '[a["generation"], a["in_flight_requests"]]') == "[$1, $2]" ]]
}

# A request whose body comes slowly: it is under way until descriptor $2 is closed.
slow_request() {
    mkfifo "$dir/$1"
    eval "exec $2<>'$dir/$1'"
    curl --silent --max-time 60 --unix-socket "$socket" --request POST --upload-file - --output "$dir/$1.body" \
        --write-out '%{http_code} %header{x-midplane-module}' --header "Authorization: Bearer $token" \
        --header "Content-Type: application/json" http://localhost/api/chat/chatkit \
        <"$dir/$1" >"$dir/$1.told" 8>&- 9>&- &
    printf '{"type":"threads.list",' >&"$2"
}
finish_request() {
    printf '"params":{}}' >&"$2"
    eval "exec $2>&-"
    wait "$3"
    equal "$1 request" "$(cat "$dir/$1.told")" "$4"
}

# Without --wait the command returns when the new version serves, and says what the old one still does.
slow_request first 8
first=$!
eventually in_flight 1 1
told=$(midplane module reload chat)
contains "summary" "$told" "swapped chat#1 (0.1.0) for chat#2 (0.1.0); new requests waited "
contains "summary" "$told" "chat#1: finishes 1 request, then ends; \`midplane module list\` shows it, --wait waits for it"
midplane module list | grep -Eq '^chat +0\.1\.0 +2 +serving ' || fail "chat#2 does not serve"
midplane module list | grep -Eq '^chat +0\.1\.0 +1 +draining +1$' || fail "chat#1 is not listed"

# With it the command says what it waits for, and at the end what became of the old one.
slow_request second 9
second=$!
eventually in_flight 2 1
# It must not keep the slow requests open itself.
midplane module reload chat --wait >"$dir/waited" 2>"$dir/progress" 8>&- 9>&- &
waiting=$!
waits() { grep -qx 'midplane: chat#1 finishes 1 request, chat#2 finishes 1 request' "$dir/progress"; }
eventually waits
finish_request first 8 "$first" "200 chat#1"
eventually grep -qx 'midplane: chat#2 finishes 1 request' "$dir/progress"
finish_request second 9 "$second" "200 chat#2"
wait "$waiting"
contains "summary" "$(cat "$dir/waited")" "chat#2: finished 1 request, cancelled 0 in "

# What was only in memory is handed over.
as "$(session '{"modules":["keeper"]}')" POST /api/keeper/add
expect 200
told=$(midplane module reload keeper --wait)
[[ $told =~ state:\ [0-9]+\ bytes\ of\ schema\ 1,\ taken\ over ]] || fail "nothing was handed over: $told"
contains "summary" "$told" "keeper#1: finished 0 requests, cancelled 0 in "
contains "summary" "$told" " its code has left the process"
contains "unload" "$(midplane module unload keeper --drain 1s)" "retired keeper#2 (1.0.0)"

# Programs get the receipt as it came, and exit codes: 1 refused, 64 usage, 69 nobody there.
equal "receipt" "$(midplane module reload hello --wait --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["unloaded"])')" True
ends_with() {
    local code=0
    midplane "${@:2}" >"$dir/out" 2>"$dir/err" || code=$?
    equal "exit code of ${*:2}" "$code" "$1"
    [[ ! -s $dir/out && -s $dir/err ]] || fail "${*:2}: what failed is told on standard error alone"
}
echo "not a library" >"$dir/modules/broken.so"
chmod 0755 "$dir/modules/broken.so"
ends_with 1 module load hello "$dir/modules/broken.so"
ends_with 1 module unload keeper
ends_with 1 module reload keeper --wait
ends_with 64 module reload
ends_with 64 module unload hello --drain soon
kill -KILL "$kernel"
wait "$kernel" 2>/dev/null || true
kernel=
ends_with 69 module reload hello
