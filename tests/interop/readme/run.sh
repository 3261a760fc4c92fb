#!/usr/bin/env bash
# See README.md. tests/interop/run provides PYTHON and NODE_PATH_DIR, with what requirements.txt and package.json name.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}/debug
work=$(mktemp -d "${TMPDIR:-/tmp}/midplane-readme.XXXXXX")
mkfifo "$work/config"
"$PYTHON" -B "$here/provider.py" "$MIDPLANE_SECRET" "$here/midplane.toml" >"$work/config" &
provider=$!
trap 'kill "$provider"; rm -rf "$work"' EXIT
# What a reader has at hand: the programs, the socket, and in this directory the packages that an example imports.
PATH=$target:$(dirname "$PYTHON"):$PATH
export PATH
read -r config <"$work/config" || exit 1
configure() { midplane call POST '/modules/chat/reload?wait=drained' -H 'content-type: application/json' -d "{\"config\": $1}"; }
page=$root/modules/chat/README.md
status=0
# The members that the module knows, which it names when it is given another one.
members() {
    local unknown='{"?": 1}'
    [[ -z $1 ]] || unknown="{\"$1\": $unknown}"
    configure "$unknown" 2>&1 | grep -o '`[a-z_]\+`' | tr -d '`' | sed "s/^/${1:+$1.}/"
}
known=$(members "" | grep -vx gateway; members attachments; members gateway)
[[ $(wc -w <<<"$known") -gt 30 ]] || { echo "the module named few members of its configuration: $known"; status=1; }
for member in $known; do
    grep -q "^| .*\`$member\`" "$page" || { echo "$page: the table of the configuration has no \`$member\`"; status=1; }
done
configure "$config" >/dev/null || exit 1
ln -s "$NODE_PATH_DIR/node_modules" "$work/node_modules"
cd "$work" && "$PYTHON" -B "$here/readme.py" "$page" || status=1
exit $status
