# Sourced by scripts/check and scripts/test: the parts both have, and how a part is run and counted.

passed=0
failed=0
failures=()

# part NAME COMMAND…: runs it, says how it went and how long it took, and goes on.
part() {
    local name=$1 start=$SECONDS
    shift
    echo "== $name"
    if "$@"; then
        passed=$((passed + 1))
        echo "ok $name ($((SECONDS - start)) s)"
    else
        failed=$((failed + 1))
        failures+=("$name")
        echo "FAILED $name ($((SECONDS - start)) s)"
    fi
}

# side_by_side FUNCTION FUNCTION: runs the parts of both at the same time, where each waits more than it computes. What the second
# has to say comes when the first is done.
side_by_side() {
    local beside sum name
    beside=$(mktemp -d) || return 1
    (
        passed=0 failed=0 failures=()
        "$2"
        printf '%s\n' "$passed" "$failed" ${failures[@]+"${failures[@]}"} >"$beside/sums"
    ) >"$beside/output" 2>&1 &
    "$1"
    wait $!
    cat "$beside/output"
    if [[ -s $beside/sums ]]; then
        {
            read -r sum && passed=$((passed + sum))
            read -r sum && failed=$((failed + sum))
            while read -r name; do failures+=("$name"); done
        } <"$beside/sums"
    else
        failed=$((failed + 1))
        failures+=("$2: it ended before its parts did")
    fi
    rm -rf "$beside"
}

# The last line is always `N passed, N failed`, of parts; each part's own runner has counted its tests above.
sum_up() {
    echo
    [[ $failed -eq 0 ]] || printf 'FAILED %s\n' "${failures[@]}"
    echo "$passed passed, $failed failed"
    [[ $failed -eq 0 ]]
}

quick_parts() {
    part "format" cargo fmt --all --check
    part "lints" cargo clippy --quiet --workspace --all-targets -- --deny warnings
    part "lints of the bridge's description" cargo clippy --quiet --package midplane --features schema --lib -- --deny warnings
    part "tokio has neither signal nor process" no_signal_no_process
    part "the kernel knows no module" no_module_in_kernel
    part "the kernel listens on no TCP port" no_tcp_in_kernel
    part "the smallest module is small" hello_is_small
    part "midplane.h" c_header
    part "the bridge's description" bridge_description
    part "unit tests" cargo test --quiet --workspace --exclude midplane-tests
}

# Features unify over one workspace build. In a module these two leave descriptors and a signal handler behind at every
# reload.
no_signal_no_process() {
    local features found
    features=$(cargo tree --quiet --workspace --edges features --prefix none --format '{p} {f}' 2>&1) || {
        echo "$features"
        return 1
    }
    grep -q '^tokio v' <<<"$features" || { echo "tokio is not in the tree: this check no longer sees what it should"; return 1; }
    found=$(grep -E '^tokio v' <<<"$features" | grep -E '(^|[ ,])(signal|process|full)(,|$| )' | sort -u)
    [[ -z $found ]] || { echo "tokio is built with signal or process:"; echo "$found"; return 1; }
}

# Whatever is about a domain is a module. Comments and tests may take one as an example; the code names none.
no_module_in_kernel() {
    local found
    found=$(in_kernel_code -i 'chat|sqlite|openai')
    [[ -z $found ]] || { echo "a module's word stands in the kernel:"; echo "$found"; return 1; }
}

# What a module process is refused names the families that it is not.
no_tcp_in_kernel() {
    local found
    found=$(in_kernel_code 'Tcp(Listener|Socket|Stream)|UdpSocket|AF_INET|AddressFamily::Inet|SockaddrIn' |
        grep -v '^kernel/src/isolation/confine/calls/')
    [[ -z $found ]] || { echo "the kernel opens an Internet socket:"; echo "$found"; return 1; }
}

# in_kernel_code GREP-ARGUMENT…: where the kernel's code has it, leaving out comments and what is compiled for tests only.
in_kernel_code() {
    find kernel/src kernel/build.rs -name '*.rs' -not -path '*/tests/*' -not -name tests.rs 2>/dev/null | sort |
        while IFS= read -r file; do
            # Inline test modules stand at the end of their file.
            sed -E '/^mod tests \{/,$d; s,(^|[[:space:]])//.*,,' "$file" | grep -nE "$@" | sed "s,^,$file:,"
        done
}

# The header says what sdk/abi says, and compilers of C and C++ agree with its layouts.
c_header() {
    scripts/generate-header --check &&
        cargo fmt --check --manifest-path sdk/abi/header/Cargo.toml &&
        cargo test --quiet --locked --manifest-path sdk/abi/header/Cargo.toml --target-dir "${CARGO_TARGET_DIR:-target}/header"
}

# What says what the bridge is, to programs and people, is what the kernel's types make of it.
bridge_description() {
    scripts/generate-protocol --check &&
        cargo test --quiet --locked --package midplane --features schema --lib schema::
}

hello_is_small() {
    local lines
    lines=$(grep -cve '^[[:space:]]*$' modules/hello/src/lib.rs)
    [[ $lines -le 15 ]] || { echo "modules/hello has $lines lines; the smallest module has at most 15"; return 1; }
    echo "$lines lines"
}
