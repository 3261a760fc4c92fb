#!/usr/bin/env bash
# scripts/demo keeps what it promises: three swaps under load, nothing lost, nothing left. And it cleans up when it is ended.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
mkdir "$dir/tmp"
export TMPDIR=$dir/tmp NO_COLOR=1

cleaned_up() {
    [[ -z $(ls "$dir/tmp") ]] || fail "it left $(ls "$dir/tmp")"
    ! pgrep -f "$dir/tmp/" >/dev/null || fail "it left $(pgrep -fa "$dir/tmp/")"
}

"$root/scripts/demo" >"$log" 2>&1 || fail "it ended with $?"
sum=$(tail -n 1 "$log")
unloaded=0
[[ $(uname) != Linux ]] || unloaded=3
[[ $sum =~ ^([0-9,]+)\ requests,\ 0\ lost\;\ 4\ generations\ answered,\ $unloaded\ of\ the\ old\ ones\ have\ left\ the\ process$ ]] ||
    fail "the sum is: $sum"
[[ ${BASH_REMATCH[1]//,/} -gt 100 ]] || fail "hardly any requests: $sum"
equal "swaps" "$(grep -c ' swapped hello#' "$log")" 3
for said in "hello#1 0.1.0: hello you" "hello#2 0.2.0: servus you" "hello#3 0.3.0: moin you" "hello#4 0.1.0: hello you"; do
    logged "$said" || fail "nobody was told: $said"
done
cleaned_up

# Ended in the middle.
: >"$log"
"$root/scripts/demo" >"$log" 2>&1 &
listener=$!
eventually logged " swapped hello#1 "
kill -TERM "$listener"
! wait "$listener" || fail "it says that all went well"
listener=
cleaned_up
