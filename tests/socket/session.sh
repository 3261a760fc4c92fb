#!/usr/bin/env bash
# A session's life: issued with the host key, used with its client secret, renewed, revoked.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
start --secret openai-api-key=env:TEST_KEY_ABSENT

# Issue one. Everything is optional when no module needs a secret.
host POST /sessions --json '{"user":"me","modules":["hello"],"scope":"read write","expires_in":60,"metadata":{"window":1}}'
expect 201
equal "cache-control" "$(header cache-control)" no-store
equal "object" "$(json 'a["object"]')" session
equal "token type" "$(json 'a["token_type"]')" Bearer
equal "expires_in" "$(json 'a["expires_in"]')" 60
equal "status" "$(json 'a["status"]')" active
equal "environment" "$(json 'a["environment"]')" pro
equal "metadata" "$(json 'a["metadata"]')" '{"window": 1}'
id=$(json 'a["id"]')
token=$(json 'a["client_secret"]')
contains "id" "$id" ses_

# The client secret is a JWT that any library reads.
claims() {
    python3 -c '
import base64, json, sys
header, claims, tag = sys.argv[1].split(".")
read = lambda part: base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
assert set(json.loads(read(header))) == {"alg", "kid", "typ"}, read(header)
assert len(read(tag)) == 32
c = json.loads(read(claims))
print(c["sub"], c["aud"], c["jti"], c["scope"], c["exp"] - c["iat"])' "$1"
}
equal "claims" "$(claims "$token")" "me ['hello'] $id read write 60"

# It opens its modules and its own session, and nothing else.
as "$token" GET /api/hello/hello
expect 200
equal "answer" "$body" "hello me"
equal "module" "$(header x-midplane-module)" "hello#1"
as "$token" GET /sessions/current
expect 200
equal "current" "$(json '[a["id"], a["user"], a["modules"], a["scope"]]')" "[\"$id\", \"me\", [\"hello\"], \"read write\"]"
as "$token" GET /api/chat/chatkit
problem 403 insufficient_scope
for route in "GET /sessions" "POST /sessions" "GET /sessions/$id" "DELETE /sessions/$id" "POST /sessions/$id/renew" \
    "GET /modules" "PUT /modules/hello" "POST /keys/rotate" "PUT /log-level" "GET /metrics" "GET /events"; do
    as "$token" ${route% *} "${route#* }"
    problem 403 insufficient_scope
done

# The host sees it, never the token.
host GET "/sessions/$id"
expect 200
equal "id" "$(json 'a["id"]')" "$id"
lacks "view" "$body" "$token"
host GET "/sessions?limit=1"
expect 200
equal "newest" "$(json 'a["data"][0]["id"]')" "$id"
lacks "list" "$body" "$token"

# A new client secret for the same session; both hold.
host POST "/sessions/$id/renew" --json '{"expires_in":120}'
expect 200
equal "cache-control" "$(header cache-control)" no-store
renewed=$(json 'a["client_secret"]')
equal "claims" "$(claims "$renewed")" "me ['hello'] $id read write 120"
for either in "$token" "$renewed"; do
    as "$either" GET /api/hello/hello
    expect 200
done

# A new signing key: tokens of the one before hold, unless they are to end.
host POST /keys/rotate --json '{}'
expect 200
as "$token" GET /api/hello/hello
expect 200
host POST /keys/rotate --json '{"revoke_previous":true}'
expect 200
as "$token" GET /api/hello/hello
problem 401 invalid_token

# Revoked: at once, and the same answer a second time.
host POST "/sessions/$id/renew" --json '{}'
token=$(json 'a["client_secret"]')
host DELETE "/sessions/$id"
expect 204
as "$token" GET /api/hello/hello
problem 401 invalid_token
contains "www-authenticate" "$(header www-authenticate)" 'error="invalid_token"'
host DELETE "/sessions/$id"
expect 204
host GET "/sessions/$id"
equal "status" "$(json 'a["status"]')" revoked

# Signing out ends one's own.
token=$(session '{"user":"you"}')
as "$token" DELETE /sessions/current
expect 204
as "$token" GET /sessions/current
problem 401 invalid_token

# All of one user's at once.
first=$(session '{"user":"ann"}')
second=$(session '{"user":"ann"}')
other=$(session '{"user":"bob"}')
host DELETE "/sessions?user=ann"
expect 200
equal "revoked" "$(json 'a["revoked"]')" 2
as "$first" GET /sessions/current
problem 401 invalid_token
as "$second" GET /sessions/current
problem 401 invalid_token
as "$other" GET /sessions/current
expect 200

# A rate: the second minute's worth has to wait.
token=$(session '{"rate_limit":{"requests_per_minute":2}}')
for _ in 1 2; do
    as "$token" GET /api/hello/hello
    expect 200
done
as "$token" GET /api/hello/hello
problem 429 rate_limited
[[ $(header retry-after) -ge 1 ]] || fail "no Retry-After"

# A secret that has no value is refused, and no session is made.
host POST /sessions --json '{"user":"nokey","secret_key_id":"openai-api-key"}'
problem 403 secret_not_found
host GET /sessions
lacks "list" "$body" nokey
