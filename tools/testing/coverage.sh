#!/bin/bash
# What the jail tests cover of sandboxd, line by line and branch by branch. Run as root, through
# `tools/check coverage`; needs clang and llvm (tools/setup coverage).
#
# clang counts in a file that each process maps: whoever is forked goes on counting there, and what
# is counted stays, whether a process exits, becomes another program or is killed. So builders,
# removers and the first processes of jails are in the figures up to their last instruction. nest-init
# is not: it is another program, in a place without files of the host.
set -euo pipefail

cd "$(dirname "$0")/../.."
work=$1
shift
export TEST_TMPDIR=$work/tmp CROWNEST_TEST_PROBE=bazel-bin/tests/jail/probe
export CROWNEST_TEST_HOSTILE_PROBE=bazel-bin/tests/jail/hostile_probe
mkdir -p "$work/profiles" "$TEST_TMPDIR"

flags=(-std=gnu17 -D_GNU_SOURCE -O1 -g -I. -fprofile-instr-generate -fcoverage-mapping
    -mllvm -runtime-counter-relocation)
image=bazel-bin/sandboxd/init/nest_init_image.o
wraps=()
for name in $(sed -n 's/^WRAP([^,]*, \([a-z_0-9]*\),.*/\1/p' tests/jail/faulty.c); do
    wraps+=("-Wl,--wrap=$name")
done
clang "${flags[@]}" -o "$work/sandboxd" sandboxd/*.c "$image" -lseccomp
clang "${flags[@]}" -o "$work/sandboxd_faulty" sandboxd/*.c tests/jail/faulty.c "$image" -lseccomp \
    "${wraps[@]}"

status=0
printf 'coverage: plan %s\n' "$*"
for test in "$@"; do
    printf 'coverage: begin %s\n' "$test"
    ended=0
    case $test in
    fault_test) program=$work/sandboxd_faulty ;;
    *) program=$work/sandboxd ;;
    esac
    CROWNEST_TEST_SANDBOXD=$program LLVM_PROFILE_FILE=$work/profiles/%p%c.profraw \
        "bazel-bin/tests/jail/$test" || ended=$?
    printf 'coverage: end %s %s\n' "$test" "$ended"
    [ "$ended" -eq 0 ] || status=1
done
llvm-profdata merge -o "$work/all.profdata" "$work"/profiles/*.profraw
llvm-cov report "$work/sandboxd" -object "$work/sandboxd_faulty" \
    -instr-profile="$work/all.profdata" --show-branch-summary --show-region-summary=false sandboxd/
if [ -n "${CROWNEST_COVERAGE_LINES:-}" ]; then
    llvm-cov show "$work/sandboxd" -object "$work/sandboxd_faulty" --show-branches=count \
        -instr-profile="$work/all.profdata" sandboxd/ >"$CROWNEST_COVERAGE_LINES"
fi
exit "$status"
