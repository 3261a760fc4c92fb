#!/usr/bin/env bash
# Is it there, and is it well? The one thing that anybody on the socket may ask.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
start

# Without a credential: whether it runs, and nothing about what.
request GET /health
expect 200
equal "content type" "$(header content-type)" application/json
equal "status" "$(json 'a["status"]')" ok
equal "members" "$(json 'sorted(a)')" '["protocol", "status", "version"]'

# With the host key: how long, and with which modules.
host GET /health
expect 200
equal "modules" "$(json 'sorted(m["name"] for m in a["modules"])')" '["chat", "hello"]'
equal "generations" "$(json '[m["generation"] for m in a["modules"]]')" '[1, 1]'
[[ $(json 'a["uptime_s"]') -ge 0 ]]

# A client secret is no host key: it learns as little as nobody does.
as "$(session '{"modules":["hello"]}')" GET /health
expect 200
equal "members" "$(json 'sorted(a)')" '["protocol", "status", "version"]'

# Every answer has a request id: the caller's own, if it is a sane one.
request GET /health --header "x-request-id: my-request-1"
equal "request id" "$(header x-request-id)" my-request-1
request GET /health --header "x-request-id: not sane at all"
lacks "request id" "$(header x-request-id)" "not sane"
[[ -n $(header x-request-id) ]] || fail "there is no request id"

# HEAD is GET without the body.
curl --silent --max-time 30 --head --unix-socket "$socket" http://localhost/health >"$dir/head"
contains "HEAD" "$(head -n 1 "$dir/head")" "HTTP/1.1 200"

# The socket and the key belong to this user alone.
equal "mode of the socket" "$(python3 -c 'import os,sys; print(oct(os.stat(sys.argv[1]).st_mode & 0o777))' "$socket")" 0o600
equal "mode of host.key" "$(python3 -c 'import os,sys; print(oct(os.stat(sys.argv[1]).st_mode & 0o777))' "$dir/host.key")" 0o600

# A second kernel on the same socket ends with 75 and says who is there.
code=0
env -u MIDPLANE_CONFIG XDG_CONFIG_HOME="$dir/config" "$target/midplane" serve --socket "$socket" --data-dir "$dir/data2" 2>"$dir/second" || code=$?
equal "exit code of a second kernel" "$code" 75
contains "its message" "$(cat "$dir/second")" "$kernel"
request GET /health
expect 200

# SIGTERM drains and ends; socket and key are gone afterwards.
kill -TERM "$kernel"
code=0
wait "$kernel" || code=$?
kernel=
equal "exit code" "$code" 0
[[ ! -e $socket ]] || fail "the socket is still there"
[[ ! -e $dir/host.key ]] || fail "host.key is still there"
