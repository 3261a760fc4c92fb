#!/usr/bin/env bash
# websocat as a caller of the kernel: a socket as the two ends of a pipe.
set -uo pipefail
work=$(mktemp -d)
# Writing to a websocat that has ended is for a check to find.
trap '' PIPE
trap 'rm -rf "$work"' EXIT
DEADLINE_S=30

host() {
    local method=$1 path=$2
    shift 2
    curl --silent --show-error --fail-with-body --max-time "$DEADLINE_S" --unix-socket "$MIDPLANE_SOCKET" --request "$method" \
        --header "Authorization: Bearer $MIDPLANE_HOST_KEY" "$@" "http://localhost$path"
}

member() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

# session: sets $id and $token
session() {
    local issued
    issued=$(host POST /sessions --json '{"user":"websocat","modules":["sockets"]}') || return 1
    id=$(member id <<<"$issued")
    token=$(member client_secret <<<"$issued")
}

# cat_through [OPTION…]: standard input goes to the echo, what comes back to standard output. The header may not stand last.
cat_through() {
    timeout "$DEADLINE_S" "$CRATES_BIN/websocat" -H="Authorization: Bearer $token" --ws-c-uri=ws://localhost/api/sockets/echo \
        "$@" - "ws-c:unix:$MIDPLANE_SOCKET"
}

# start_talk OPTION…: websocat in the background. What is written to descriptor 7 it sends; 8 has what came back.
start_talk() {
    exec 7>&- 8<&-
    rm -f "$work/to" "$work/from"
    mkfifo "$work/to" "$work/from"
    cat_through "$@" <"$work/to" >"$work/from" &
    talk=$!
    exec 7>"$work/to" 8<"$work/from"
}

says() {
    local answer
    echo "$1" >&7
    read -r -t "$DEADLINE_S" answer <&8 || { echo "sent $1, got nothing"; return 1; }
    [[ $answer == "$1" ]] || { echo "sent $1, got $answer"; return 1; }
}

# It has ended by itself, in time: websocat's output closes when it does.
ended() {
    local answer
    ! read -r -t "$DEADLINE_S" answer <&8 || { echo "still got $answer"; return 1; }
    wait "$talk"
    [[ $? -ne 124 ]] || { echo "the socket stayed open"; return 1; }
}

# comes_back FILE OPTION…: FILE goes in, and the same comes out. More goes in behind it: websocat may sit on the last it has read,
# if it could not send it at once, until something else happens.
comes_back() {
    local file=$1
    shift
    start_talk "$@"
    { cat "$file" && head -c 100000 "$file"; } >&7 &
    local sender=$!
    head -c "$(wc -c <"$file")" <&8 >"$work/back"
    cmp "$file" "$work/back" || return 1
    cat <&8 7>&- >/dev/null &
    wait "$sender"
    exec 7>&-
    wait "$talk"
}

lines_come_back_as_messages() {
    seq 1 2000 >"$work/lines"
    comes_back "$work/lines" --text
}

bytes_come_back_as_they_were() {
    python3 -c 'import random, sys; sys.stdout.buffer.write(random.Random(6455).randbytes(3_000_000))' >"$work/bytes"
    comes_back "$work/bytes" --binary
}

a_pipe_is_a_conversation() {
    start_talk --text
    says one && says two && says three || return 1
    exec 7>&-
    ended
}

# ends_when COMMAND…: a waiting websocat ends when COMMAND has run, with its own input still open.
ends_when() {
    start_talk --text --exit-on-eof
    says here || return 1
    "$@" >"$work/answer" || { cat "$work/answer"; return 1; }
    ended
}

a_reload_ends_it() { ends_when host POST /modules/sockets/reload; }

a_revocation_ends_it_and_the_next_is_refused() {
    ends_when host DELETE "/sessions/$id" || return 1
    ! cat_through --text </dev/null 2>"$work/refusal" || { echo "a revoked token opened a socket"; return 1; }
    grep -q 401 "$work/refusal" || { cat "$work/refusal"; return 1; }
}

an_origin_is_refused() {
    ! cat_through --text --origin https://example.org </dev/null 2>"$work/refusal" || { echo "a web page's origin came in"; return 1; }
    grep -q 403 "$work/refusal" || { cat "$work/refusal"; return 1; }
}

passed=0
failed=0
for test in lines_come_back_as_messages bytes_come_back_as_they_were a_pipe_is_a_conversation a_reload_ends_it \
    a_revocation_ends_it_and_the_next_is_refused an_origin_is_refused; do
    if session && "$test"; then
        echo "ok websocat: $test"
        passed=$((passed + 1))
    else
        echo "FAILED websocat: $test"
        failed=$((failed + 1))
    fi
done
echo "$passed passed, $failed failed"
[[ $failed -eq 0 ]]
