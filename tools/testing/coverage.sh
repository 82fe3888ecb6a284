#!/bin/bash
# What the jail tests cover of sandboxd and of nest-init, line by line and branch by branch. Run as
# root, through `tools/check coverage`; needs clang and llvm (tools/setup coverage).
#
#   tools/testing/coverage.sh FOLDER TEST...      of tests/jail, built; FOLDER gets what is measured
#
# clang counts in a file that each process maps: whoever is forked goes on counting there, and what
# is counted stays, whether a process exits, becomes another program or is killed. So builders,
# removers and the first processes of jails are in the figures up to their last instruction. nest-init
# is another program, in a place without files of the host: it is built with clang too, against
# glibc, and gets a descriptor of its file from sandboxd, see coverage_init.c. Nothing is left out of
# the figures.
#
# CROWNEST_COVERAGE_VM=yes adds what the same tests reach in a virtual machine with cgroup v2 alone
# (tests/vm/run; minutes each): without it all of cgroup_v2.c counts as not covered.
# CROWNEST_COVERAGE_LINES=FILE gets the sources with their counts.
set -euo pipefail

cd "$(dirname "$0")/../.."
work=$1
shift
export TEST_TMPDIR=$work/tmp CROWNEST_TEST_PROBE=bazel-bin/tests/jail/probe
export CROWNEST_TEST_HOSTILE_PROBE=bazel-bin/tests/jail/hostile_probe
export CROWNEST_COVERAGE_INIT=$work/init.counters
mkdir -p "$work/profiles" "$work/objects" "$TEST_TMPDIR"

# Without the promotion a counter is written each time, not when its loop ends: ours end by a signal.
flags=(-std=gnu17 -D_GNU_SOURCE -O1 -g -I. -fprofile-instr-generate -fcoverage-mapping
    -mllvm -runtime-counter-relocation -mllvm -do-counter-promotion=false)

build_init() {
    clang "${flags[@]}" -fprofile-update=atomic -static -o "$work/nest-init" sandboxd/init/*.c \
        tools/testing/coverage_init.c
    # As //sandboxd/init:image_object has it.
    printf '%s\n' '.section .rodata' '.globl nest_init_begin' '.globl nest_init_end' '.balign 16' \
        'nest_init_begin:' ".incbin \"$work/nest-init\"" 'nest_init_end:' \
        '.section .note.GNU-stack,"",@progbits' | as -o "$work/image.o" -
    truncate --size 1M "$CROWNEST_COVERAGE_INIT"
}

# The ordinary one, the one whose calls can be made to fail, and the one whose nest-init is hostile.
build_sandboxd() {
    local source name objects=() wraps=()
    for source in sandboxd/*.c tools/testing/coverage_sandboxd.c; do
        name=$work/objects/$(basename "$source" .c).o
        case $source in
        */jail.c) clang "${flags[@]}" -Dsyscall=coverage_syscall -c -o "$name" "$source" ;;
        sandboxd/*) clang "${flags[@]}" -c -o "$name" "$source" ;;
        *) clang -std=gnu17 -D_GNU_SOURCE -I. -c -o "$name" "$source" ;;
        esac
        objects+=("$name")
    done
    clang -std=gnu17 -D_GNU_SOURCE -I. -c -o "$work/faulty.o" tests/jail/faulty.c
    for name in $(grep -oE '__wrap_[a-z_0-9]+' tests/jail/faulty.c | sed 's/^__wrap_//' | sort -u) \
        $(sed -n 's/^WRAP([^,]*, \([a-z_0-9]*\),.*/\1/p' tests/jail/faulty.c); do
        wraps+=("-Wl,--wrap=$name")
    done
    objects+=("$work/image.o" -lseccomp)
    clang -fprofile-instr-generate -o "$work/sandboxd" "${objects[@]}"
    clang -fprofile-instr-generate -o "$work/sandboxd_faulty" "$work/faulty.o" "${objects[@]}" \
        "${wraps[@]}"
    clang -fprofile-instr-generate -o "$work/sandboxd_taken" "${objects[@]}" \
        bazel-bin/tests/jail/taken_image.o -Wl,--wrap=nest_init_begin,--wrap=nest_init_end
}

run_test() {
    local test=$1 program=$work/sandboxd
    case $test in
    fault*) program=$work/sandboxd_faulty ;;
    taken*) program=$work/sandboxd_taken ;;
    esac
    CROWNEST_TEST_SANDBOXD=$program LLVM_PROFILE_FILE=$work/profiles/%p%c.profraw \
        "bazel-bin/tests/jail/$test"
}

report() {
    local title=$1 profile=$2 sources=$3 objects=("${@:4}")
    printf '\n== %s\n' "$title"
    llvm-cov report "${objects[@]}" -instr-profile="$profile" --show-branch-summary \
        --show-region-summary=false "$sources"
    if [ -n "${CROWNEST_COVERAGE_LINES:-}" ]; then
        llvm-cov show "${objects[@]}" -instr-profile="$profile" --show-branches=count "$sources" \
            >>"$CROWNEST_COVERAGE_LINES"
    fi
}

main() {
    local test file status=0 ended
    build_init
    build_sandboxd
    printf 'coverage: plan %s\n' "$*"
    for test in "$@"; do
        printf 'coverage: begin %s\n' "$test"
        ended=0
        run_test "$test" || ended=$?
        printf 'coverage: end %s %s\n' "$test" "$ended"
        [ "$ended" -eq 0 ] || status=1
    done
    if [ "${CROWNEST_COVERAGE_VM:-no}" = yes ]; then
        CROWNEST_COVERAGE_PROGRAMS=$work tests/vm/run "$@" || status=1
    fi
    llvm-profdata merge -o "$work/sandboxd.profdata" "$work"/profiles/*.profraw
    for file in "$work"/*.counters; do
        "$work/nest-init" "$file" "$file.profraw"
    done
    llvm-profdata merge -o "$work/init.profdata" "$work"/*.counters.profraw
    [ -z "${CROWNEST_COVERAGE_LINES:-}" ] || : >"$CROWNEST_COVERAGE_LINES"
    report sandboxd "$work/sandboxd.profdata" "$PWD/sandboxd/" "$work/sandboxd" \
        -object "$work/sandboxd_faulty" -object "$work/sandboxd_taken"
    report nest-init "$work/init.profdata" "$PWD/sandboxd/init/" "$work/nest-init"
    exit "$status"
}

main "$@"
