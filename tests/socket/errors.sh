#!/usr/bin/env bash
# Everything that is refused is refused in one form, RFC 9457, with a code that stays.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
start
token=$(session '{"modules":["hello"]}')

# No credential: 401, and how to bring one.
for route in "GET /sessions" "POST /sessions" "GET /modules" "PUT /modules/hello" "DELETE /modules/hello" \
    "POST /modules/hello/reload" "POST /keys/rotate" "GET /metrics" "GET /events" "GET /sessions/current" \
    "GET /api/hello/hello" "POST /api/chat/chatkit" "GET /api/no-such-module/"; do
    request ${route% *} "${route#* }"
    problem 401 credential_required
    equal "www-authenticate" "$(header www-authenticate)" 'Bearer realm="midplane"'
    equal "cache-control" "$(header cache-control)" no-store
done

# A wrong one: whatever is wrong with it, the answer is the same, so that nothing is learned.
bodies=
for wrong in x mph_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA "$token=" "${token%.*}." "${token%????}AAAA" \
    "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.e30." "a.b.c"; do
    as "$wrong" GET /api/hello/hello
    problem 401 invalid_token
    contains "www-authenticate" "$(header www-authenticate)" 'error="invalid_token"'
    bodies+=$(json '[a[k] for k in sorted(a) if k != "instance"]')$'\n'
done
equal "different bodies" "$(sort -u <<<"${bodies%$'\n'}" | wc -l | tr -d ' ')" 1

# The header is the only place for a credential, and there is room for one.
request GET "/api/hello/hello?access_token=$token"
problem 401 credential_required
request GET /api/hello/hello --header "Cookie: token=$token"
problem 401 credential_required
request GET /sessions --header "Authorization: Basic $(printf 'host:%s' "$host_key" | base64 | tr -d '\n')"
expect 401
as "$token" GET /sessions/current --header "Authorization: Bearer $host_key"
problem 400 several_credentials

# A web page that got here through some forwarder.
host GET /health --header "Origin: https://example.com"
problem 403 origin_not_allowed
host GET /health --header "Host: example.com"
problem 421 host_not_allowed

# No such route; a route with another method; no such thing.
host GET /no/such/route
problem 404 not_found
host PATCH /sessions
problem 405 method_not_allowed
equal "allow" "$(header allow)" "GET, HEAD, POST, DELETE"
host GET /sessions/ses_unknown
problem 404 session_not_found
host GET /modules/unknown
problem 404 module_not_found

# Bodies: not JSON, of another type, with a member that does not exist, of the wrong type, too large.
host POST /sessions --json '{"user":'
problem 400 invalid_request
host POST /sessions --data 'user=me'
problem 415 unsupported_media_type
host POST /sessions --json '{"usr":"me"}'
problem 400 invalid_request
contains "detail" "$(json 'a["detail"]')" usr
host POST /sessions --json '{"expires_in":"long"}'
problem 400 invalid_request
for wish in '{"expires_in":0}' '{"expires_in":3601}' '{"user":""}' '{"modules":[]}' '{"rate_limit":{"requests_per_minute":0}}'; do
    host POST /sessions --json "$wish"
    problem 400 invalid_request
done
host POST /sessions --json '{"modules":["no-such-module"]}'
problem 422 module_not_loaded
head -c 2000000 /dev/zero | tr '\0' ' ' >"$dir/large"
host POST /sessions --header "Content-Type: application/json" --data-binary "@$dir/large"
problem 413 body_too_large

# Nothing of it is held against the next caller.
as "$token" GET /api/hello/hello
expect 200
lacks "log" "$(cat "$log")" "$token"
lacks "log" "$(cat "$log")" "$host_key"
