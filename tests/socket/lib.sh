# Sourced by every file here: a kernel of one's own, requests to it with curl, and checks that say what they saw.
#
#     start [ARGUMENT]...              a kernel with the modules hello and chat, ended when the script ends
#     request METHOD PATH [CURL…]      one exchange; afterwards $status, $headers and $body hold the answer
#     host METHOD PATH [CURL…]         the same with the host key
#     as TOKEN METHOD PATH [CURL…]     the same with a client secret
#     expect STATUS                    fails unless the answer has this status
#     problem STATUS CODE              fails unless it is problem+json with this code
#     header NAME                      prints a header of the answer
#     json EXPRESSION                  evaluates Python on the answer as `a`, say: json 'a["status"]'
#     equal WHAT FOUND EXPECTED        fails unless they are the same
#     session JSON                     creates a session and prints its client secret
#
# Needs curl and python3. A failure prints the exchange and the kernel's log.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}/debug
dir=$(mktemp -d "${TMPDIR:-/tmp}/midplane-socket.XXXXXX")
socket=$dir/kernel.sock
log=$dir/log
kernel=
listener=
exchange="(no request yet)"
status= headers= body=

finish() {
    local code=$?
    if [[ $code -ne 0 ]]; then
        printf -- '--- last exchange ---\n%s\n--- kernel log ---\n' "$exchange" >&2
        cat "$log" >&2 2>/dev/null || true
    fi
    if [[ -n $listener ]]; then
        kill "$listener" 2>/dev/null || true
    fi
    if [[ -n $kernel ]]; then
        kill -KILL "$kernel" 2>/dev/null || true
        wait "$kernel" 2>/dev/null || true
    fi
    rm -rf "$dir"
    exit "$code"
}
trap finish EXIT

fail() {
    echo "FAIL ${BASH_SOURCE[-1]##*/}:${BASH_LINENO[-2]}: $*" >&2
    exit 1
}

# Waits until COMMAND succeeds, or fails after 30 s.
eventually() {
    local deadline=$((SECONDS + 30))
    until "$@"; do
        [[ $SECONDS -lt $deadline ]] || fail "this did not come true in 30 s: $*"
        [[ -z $kernel ]] || kill -0 "$kernel" 2>/dev/null || fail "the kernel ended while waiting for: $*"
        sleep 0.02
    done
}

logged() { [[ -e $log ]] && grep -q -- "$1" "$log"; }

# Module files must not be writable by others; cargo's may be. MIDPLANE_HELLO may name another file to be hello.
artifact() {
    local suffix=so file
    [[ $(uname) == Darwin ]] && suffix=dylib
    file=$target/libmidplane_$1.$suffix
    [[ $1 == hello ]] && file=${MIDPLANE_HELLO:-$file}
    mkdir -p "$dir/modules"
    install -m 0755 "$file" "$dir/modules/libmidplane_$1.$suffix"
    echo "$dir/modules/libmidplane_$1.$suffix"
}

start() {
    [[ -x $target/midplane ]] || fail "$target/midplane is not built: run \`cargo build --workspace\` first"
    # Nothing of the caller's configuration takes part.
    env -u MIDPLANE_CONFIG -u MIDPLANE_SOCKET -u MIDPLANE_LOG -u OPENAI_API_KEY \
        XDG_CONFIG_HOME="$dir/config" NO_COLOR=1 \
        "$target/midplane" serve --socket "$socket" --data-dir "$dir/data" --write-host-key \
        --module "hello=$(artifact hello)" --module "chat=$(artifact chat)" "$@" 2>"$log" &
    kernel=$!
    eventually logged " ready on "
    host_key=$(cat "$dir/host.key")
}

request() {
    local method=$1 path=$2
    shift 2
    status=$(curl --silent --show-error --max-time 30 --unix-socket "$socket" --request "$method" \
        --dump-header "$dir/headers" --output "$dir/body" --write-out '%{http_code}' \
        "$@" "http://localhost$path") || fail "curl could not $method $path"
    headers=$(tr -d '\r' <"$dir/headers")
    body=$(cat "$dir/body" 2>/dev/null || true)
    : >"$dir/body"
    exchange="$method $path"$'\n'"$headers"$'\n\n'"$body"
}

host() { request "$@" --header "Authorization: Bearer $host_key"; }

as() {
    local token=$1
    shift
    request "$@" --header "Authorization: Bearer $token"
}

expect() { [[ $status == "$1" ]] || fail "expected status $1, got $status"; }

problem() {
    expect "$1"
    equal "content type" "$(header content-type)" application/problem+json
    local code in_body type instance words
    { read -r code; read -r in_body; read -r type; read -r instance; read -r words; } \
        <<<"$(json '"{code}\n{status}\n{type}\n{instance}\n".format(**a) + ("both" if a["title"] and a["detail"] else "")')"
    equal "code" "$code" "$2"
    equal "status in the body" "$in_body" "$1"
    equal "type" "$type" "urn:midplane:error:${2//_/-}"
    equal "instance" "$instance" "$(header x-request-id)"
    equal "title and detail" "$words" both
}

header() { sed -n "s/^$1: //Ip" <<<"$headers" | tail -n 1; }

json() {
    python3 -c '
import json, sys
a = json.loads(sys.argv[2])
v = eval(sys.argv[1])
print(v if isinstance(v, str) else json.dumps(v))' "$1" "$body" || fail "no $1 in the answer"
}

equal() { [[ $2 == "$3" ]] || fail "$1: expected '$3', found '$2'"; }

contains() { [[ $2 == *"$3"* ]] || fail "$1: expected '$3' in '$2'"; }

lacks() { [[ $2 != *"$3"* ]] || fail "$1: '$3' must not be in '$2'"; }

session() {
    host POST /sessions --json "$1"
    expect 201
    json 'a["client_secret"]'
}
