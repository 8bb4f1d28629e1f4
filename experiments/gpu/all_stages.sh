#!/usr/bin/env bash
# all_stages.sh SECONDS [compiled]: runs the stages of check.sh on a GPU that is lent for minutes,
# in the order that loses least where time ends. prepare.sh has filled .device; everything is left
# in $OUT/results.tar.xz, and the tables are printed last. Where prepare.sh has made plw and not yet
# the tests' programs, all else is checked.
#
# Without `compiled`: all of stage right, then the whole bar with the peer uncompiled, both sides of
# each row in one call, then traces, attention alone and presets (about 430 s). With it: the peer's
# compiled settings of 7B, compiled first and alone (150 s), then with plw's rows beside them (about
# 350 s). The second call finds the first one's models where the machine was kept.
set -uo pipefail
limit=${1:?seconds} mode=${2:-uncompiled}
here=$(cd "$(dirname "$0")" && pwd)
began=$(date +%s)
left() { echo $((limit - ($(date +%s) - began))); }
results=/tmp/plw-results
rm -rf "$results" && mkdir -p "$results"
trap 'tar -C /tmp -c plw-results | xz -T0 -3 >"$OUT/results.tar.xz"' EXIT
export WORK=/tmp/plw-device

# stage NAME LIMIT STAGE OPTIONS...: within what is left, its output and records under its name.
stage() {
    local name=$1 most=$2
    shift 2
    [ "$(left)" -lt "$most" ] && most=$(left)
    if [ "$most" -lt 10 ]; then
        echo "== $name: no time left"
        return
    fi
    local seconds=(--seconds $((most - 5)))
    [ "$1" = attention ] && seconds=()
    OUT=$results/$name timeout "$most" "$here/check.sh" "$@" "${seconds[@]}" \
        >"$results/$name.txt" 2>&1
    echo "== $name ended with $? ($(left) s left)"
}

rows=7b-train,7b-shared,7b-recomputed,7b-eval,7b-qlora
if [ "$mode" = compiled ]; then
    settings=("bf16 packed compiled in 4 parts" "nf4 packed compiled checkpointing"
        "bf16 packed compiled")
    stage prepare 150 fast --prepare --rows "$rows" --settings "${settings[@]}"
    stage bar 400 fast --keep-models --rows "$rows" --settings "${settings[@]}"
    shown=(prepare bar)
else
    settings=("bf16 packed in 4 parts" "nf4 packed checkpointing" "bf16 packed")
    checks=(full lora evaluation resume bf16)
    [ -f "${DEVICE_FILES:-.device}/golden.xz" ] && checks=(golden "${checks[@]}")
    [ -f "${DEVICE_FILES:-.device}/device.xz" ] && checks=(kernels "${checks[@]}")
    WORK=/tmp/plw-right stage right 120 right --checks "${checks[@]}" &
    # Makes the models, and compiles the peer of the small one.
    stage prepare 120 fast --prepare --rows small-train,"$rows" --settings "bf16 packed compiled"
    wait
    stage bar 300 fast --keep-models --rows small-train,small-shared,"$rows" \
        --settings "${settings[@]}" "bf16 packed compiled"
    stage profile-shared 16 profile --share-prefixes true
    stage profile-small 16 profile
    stage attention 60 attention
    stage presets 100 presets
    shown=(right prepare profile-shared profile-small attention presets bar)
fi
for name in "${shown[@]}"; do
    echo "-- $name"
    tail -25 "$results/$name.txt" | cut -c1-300
done
