#!/usr/bin/env bash
# A conversation over the ChatKit protocol, with the echo as the model: no key, no network.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
start
token=$(session '{"user":"me","modules":["chat"]}')

# What the server-sent events in $body say: their kinds, or a Python expression over the list `e`.
events() {
    python3 -c '
import json, sys
e = [json.loads(line[6:]) for line in sys.argv[2].splitlines() if line.startswith("data: ")]
kinds = [v["update"]["type"] if "update" in v else v["type"] for v in e]
text = "".join(v["update"]["delta"] for v in e if v.get("update", {}).get("delta"))
v = eval(sys.argv[1])
print(v if isinstance(v, str) else json.dumps(v))' "$1" "$body" || fail "no $1 in the events"
}
message() { printf '{"content":[{"type":"input_text","text":"%s"}],"attachments":[],"inference_options":{}}' "$1"; }
ask() { as "$token" POST /api/chat/chatkit --no-buffer --json "$1"; }

# A new thread: the events come in ChatKit's order, the words one by one.
ask "{\"type\":\"threads.create\",\"params\":{\"input\":$(message 'good morning to you')}}"
expect 200
equal "content type" "$(header content-type)" text/event-stream
equal "first event" "$(events 'kinds[0]')" thread.created
equal "second event" "$(events 'kinds[1]')" thread.item.done
contains "said" "$(events text)" "good morning to you"
[[ $(events 'sum(k.endswith("text_delta") for k in kinds)') -ge 4 ]] || fail "it did not come word by word"
equal "the answer is done last" "$(events '[v["item"]["type"] for v in e if v["type"] == "thread.item.done"][-1]')" assistant_message
thread=$(events 'e[0]["thread"]["id"]')

# Going on.
ask "{\"type\":\"threads.add_user_message\",\"params\":{\"thread_id\":\"$thread\",\"input\":$(message 'and good night')}}"
expect 200
contains "said" "$(events text)" "and good night"

# Reading it back: two questions, two answers, in order.
ask "{\"type\":\"items.list\",\"params\":{\"thread_id\":\"$thread\",\"order\":\"asc\"}}"
expect 200
equal "items" "$(json '[i["type"] for i in a["data"] if i["type"].endswith("_message")]')" \
    '["user_message", "assistant_message", "user_message", "assistant_message"]'
ask '{"type":"threads.list","params":{}}'
equal "threads" "$(json '[t["id"] for t in a["data"]]')" "[\"$thread\"]"

# A thread belongs to its user.
mine=$token
token=$(session '{"user":"somebody-else","modules":["chat"]}')
ask '{"type":"threads.list","params":{}}'
equal "threads of another" "$(json 'a["data"]')" '[]'
ask "{\"type\":\"threads.get_by_id\",\"params\":{\"thread_id\":\"$thread\"}}"
expect 404
ask "{\"type\":\"threads.delete\",\"params\":{\"thread_id\":\"$thread\"}}"
expect 404
token=$mine

# What is not understood is refused, not guessed.
ask '{"type":"threads.no_such_request","params":{}}'
expect 400
ask "{\"type\":\"threads.create\",\"params\":{\"input\":$(message '')}}"
expect 400
ask 'not json'
expect 400

# Gone is gone.
ask "{\"type\":\"threads.delete\",\"params\":{\"thread_id\":\"$thread\"}}"
expect 200
ask "{\"type\":\"threads.get_by_id\",\"params\":{\"thread_id\":\"$thread\"}}"
expect 404
