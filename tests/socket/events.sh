#!/usr/bin/env bash
# GET /events tells the host what happens, as it happens.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
start

curl --silent --no-buffer --max-time 60 --unix-socket "$socket" --header "Authorization: Bearer $host_key" \
    http://localhost/events >"$dir/events" &
listener=$!

# Waits for an event of this type, and prints it.
event() { sed -n "s/^data: \({.*\"type\":\"$1\".*}\)\$/\1/p" "$dir/events" | tail -n 1; }
happened() { [[ -n $(event "$1") ]]; }
member() {
    eventually happened "$1"
    body=$(event "$1")
    json "a[\"$2\"]"
}

# From the comment on, nothing is missed.
eventually grep -q '^: listening' "$dir/events"

host POST /sessions --json '{"user":"me","modules":["hello"]}'
id=$(json 'a["id"]')
token=$(json 'a["client_secret"]')
equal "session" "$(member session.issued session)" "$id"
equal "user" "$(member session.issued user)" me

host DELETE "/sessions/$id"
equal "session" "$(member session.revoked session)" "$id"

host POST "/modules/hello/reload?wait=drained" --json '{}'
equal "swapped" "$(member module.swapped module) $(member module.swapped from) $(member module.swapped to)" "hello 1 2"
equal "unloaded" "$(member module.unloaded module) $(member module.unloaded generation)" "hello 1"

host POST /modules/chat/reload --json '{"config":{"no_such_setting":1}}'
equal "refused" "$(member module.refused module)" chat
contains "reason" "$(member module.refused reason)" no_such_setting

host POST /keys/rotate --json '{}'
[[ -n $(member keys.rotated kid) ]]

# Every event has its time; none has a credential.
body=$(event session.issued)
[[ $(json 'a["at"]') -gt 1700000000 ]] || fail "no time"
lacks "events" "$(cat "$dir/events")" "$token"
lacks "events" "$(cat "$dir/events")" "$host_key"

# Only the host may listen.
request GET /events
problem 401 credential_required

# A kernel that leaves says so and ends the stream.
kill -TERM "$kernel"
wait "$kernel"
kernel=
wait "$listener" || true
listener=
[[ -n $(event kernel.draining) ]] || fail "the stream ended without a word"
