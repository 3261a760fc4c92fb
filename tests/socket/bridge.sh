#!/usr/bin/env bash
# A terminal without a person as the host: `midplane bridge` gives what it is told to, and nothing else.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
start

# Nobody is there yet.
host POST /sessions --json '{"secret_key_id":"my-key"}'
problem 503 host_unavailable

# A bridge is opened with the host key and an upgrade.
request GET /bridge
problem 401 credential_required
host GET /bridge
problem 426 upgrade_required
equal "upgrade" "$(header upgrade)" jsonrpc

MY_KEY=sk-canary setsid "$target/midplane" bridge --socket "$socket" --json \
    --secret my-key=env:MY_KEY --secret 'other-key=cmd:sh -c "echo $HOME-key"' >"$dir/said" 2>&1 </dev/null &
listener=$!
said() { grep -q -- "$1" "$dir/said"; }
eventually said bridge.attached

for id in my-key other-key; do
    host POST /sessions --json "{\"secret_key_id\":\"$id\"}"
    expect 201
done
host POST /sessions --json '{"secret_key_id":"third-key"}'
problem 403 secret_not_found
contains "detail" "$(json 'a["detail"]')" "--secret third-key=env:VARIABLE"
eventually said '"outcome":"not_found"'

# It ends with the kernel.
kill -TERM "$kernel"
code=0
wait "$listener" || code=$?
listener=
equal "exit code" "$code" 69
said "has ended" || fail "it does not say why it ends"
! said sk-canary || fail "it shows a key"
kernel=
