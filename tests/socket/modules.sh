#!/usr/bin/env bash
# Modules come, change and go while requests are answered; what is refused leaves what ran.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
start
token=$(session '{"user":"me","modules":["hello"]}')
hello=$(artifact hello)

# Unloaded, or the receipt says why its code is still mapped.
gone() {
    [[ $(json 'a["unloaded"]') == true || -n $(json 'a["resident_reason"] or ""') ]] || fail "no word on the old code"
}
generation() { host GET "/modules/$1" && expect 200 && json 'a["generation"]'; }

host GET /modules
expect 200
equal "modules" "$(json 'sorted([m["name"], m["state"]] for m in a["modules"])')" '[["chat", "serving"], ["hello", "serving"]]'

# A swap: the receipt says what became what. The session goes on.
host POST "/modules/hello/reload?wait=drained" --json '{}'
expect 200
equal "generations" "$(json '[a["module"], a["from"]["generation"], a["to"]["generation"]]')" '["hello", 1, 2]'
gone
as "$token" GET /api/hello/hello
expect 200
equal "module" "$(header x-midplane-module)" "hello#2"

# What is no module is refused with the reason, and what ran keeps running.
echo "not a library" >"$dir/modules/broken.so"
chmod 0755 "$dir/modules/broken.so"
host PUT /modules/hello --json "{\"path\":\"$dir/modules/broken.so\"}"
expect 422
equal "content type" "$(header content-type)" application/problem+json
host POST /modules/chat/reload --json '{"config":{"no_such_setting":1}}'
expect 422
contains "detail" "$(json 'a["detail"]')" no_such_setting
equal "generation of hello" "$(generation hello)" 2
equal "generation of chat" "$(generation chat)" 1

# A file that others could change, or in a place that the configuration does not name, is refused too.
chmod 0775 "$hello"
host POST /modules/hello/reload --json '{}'
[[ $status == 4?? ]] || fail "a group-writable file was loaded ($status)"
contains "detail" "$(json 'a["detail"]')" "chmod go-w"
chmod 0755 "$hello"
mkdir "$dir/elsewhere"
install -m 0755 "$hello" "$dir/elsewhere/"
host PUT /modules/hello --json "{\"path\":\"$dir/elsewhere/${hello##*/}\"}"
[[ $status == 4?? ]] || fail "a file from elsewhere was loaded ($status)"
host PUT /modules/hello --json '{"path":"relative.so"}'
problem 400 invalid_request
as "$token" GET /api/hello/hello
expect 200

# Unloaded: its routes are gone, the kernel and the other modules stay.
host DELETE /modules/hello
expect 200
gone
equal "to" "$(json 'a["to"]')" null
as "$token" GET /api/hello/hello
[[ $status == 404 || $status == 503 ]] || fail "an unloaded module answered ($status)"
host DELETE /modules/hello
problem 404 module_not_found
as "$(session '{"modules":["chat"]}')" POST /api/chat/chatkit --json '{"type":"threads.list","params":{}}'
expect 200

# And loaded again: a new generation, for the same session.
host PUT /modules/hello --json "{\"path\":\"$hello\"}"
expect 201
equal "from" "$(json 'a["from"]')" null
as "$token" GET /api/hello/hello
expect 200
equal "answer" "$body" "hello me"
[[ $(generation hello) -gt 2 ]] || fail "a generation's number came twice"

# No request fails while the module is swapped twenty times under it.
(
    for _ in $(seq 200); do
        curl --silent --output /dev/null --write-out '%{http_code}\n' --max-time 30 --unix-socket "$socket" \
            --header "Authorization: Bearer $token" http://localhost/api/hello/hello
    done >"$dir/statuses"
) &
requests=$!
for _ in $(seq 20); do
    host POST "/modules/hello/reload?wait=drained" --json '{}'
    expect 200
    gone
done
wait "$requests"
equal "statuses" "$(sort <"$dir/statuses" | uniq -c | tr -s ' ')" " 200 200"
