#!/usr/bin/env bash
# Where the time of a step goes: plw under `perf`, its samples by what they were taken in, as a
# table in Markdown.
#
#     experiments/bench/profile.sh MODEL RACE_MIDDLE > results/profile.md
#
# Needs Linux with perf and c++filt, a Llama directory, and the folder with RACE middle's parquet
# files. Builds plw once more, in target/profile, with symbol names that tell kernels apart.
set -euo pipefail
cd "$(dirname "$0")/../.."
model=$1 data=$2
scratch=target/profile/runs
RUSTFLAGS="-C symbol-mangling-version=v0" \
    cargo build --quiet --release --bin plw --target-dir target/profile
rm -rf "$scratch"
mkdir -p "$scratch"

# record NAME SUBCOMMAND FLAGS..: samples of the whole process
record() {
    local name=$1
    shift
    perf record --quiet --freq 499 --output "$scratch/$name.perf" -- \
        target/profile/release/plw --quiet "$@" --model "$model" --output-dir "$scratch/$name" \
        > "$scratch/$name.log" 2>&1
}
train() {
    record "$@" --train-data "$data/train-00000-of-00001.parquet" --max-length 2048 \
        --packing none --shuffle false \
        --learning-rate 2e-4 --weight-decay 0.001 --max-grad-norm 0.3 --warmup-steps 0
}
unshared=(--per-device-train-batch-size 4 --share-prefixes false --max-steps 20 --limit 88)
shared=(--per-device-train-batch-size 16 --max-steps 5 --limit 112)
lora=("${shared[@]}" --lora-r 16 --lora-alpha 32 --lora-dropout 0)
train full-batch-4 train --prompt-loss-weight 0.1 "${unshared[@]}"
train full-batch-16-shared train --prompt-loss-weight 0.1 "${shared[@]}"
train lora-0.1 train --prompt-loss-weight 0.1 "${lora[@]}"
train lora-0 train --prompt-loss-weight 0 "${lora[@]}"
record evaluate eval --data "$data/validation-00000-of-00001.parquet" \
    --limit 100 --max-length 2048

# The first pattern that a symbol has decides.
groups='matrix products (gemm crate)|gemm_f32::microkernel|gemv
their packing|pack_operands|gemm_common|gemm_f32
attention|flex::attention
SwiGLU|flex::swiglu
cross-entropy, without its products|flex::linear_cross_entropy
RMSNorm|flex::rms_norm
RoPE|flex::rope
AdamW and gradient norm|flex::adamw
embedding|flex::embedding
other kernels|plw_kernels
the system clearing pages|clear_page|clear_huge
waiting and waking of threads|crossbeam|rayon|futex|sched|task_switch|spin_unlock|wake_up
allocator and copies|malloc|free|unlink_chunk|mem(move|set|cpy)
Burn|burn|macerator|cubecl
everything else|.'

cases="full-batch-4 full-batch-16-shared lora-0.1 lora-0 evaluate"
for case in $cases; do
    perf report --input "$scratch/$case.perf" --no-children --stdio --fields overhead,sym \
        2> /dev/null | c++filt |
        awk -v case="$case" -v groups="$groups" '
            BEGIN { n = split(groups, line, "\n") }
            /^ *[0-9.]+%/ {
                symbol = $0
                sub(/^ *[0-9.]+% */, "", symbol)
                for (i = 1; i <= n; i++) {
                    pattern = line[i]
                    sub(/^[^|]*\|/, "", pattern)
                    if (symbol ~ pattern) { share[i] += $1; break }
                }
            }
            END {
                for (i = 1; i <= n; i++) {
                    split(line[i], part, "|")
                    printf "%s\t%s\t%.1f\n", case, part[1], share[i]
                }
            }'
done > "$scratch/shares.tsv"

echo "# Where the time goes"
echo
processor=$(grep -m1 'model name' /proc/cpuinfo | sed 's/.*: //')
echo "$processor, $(nproc) threads, commit $(git rev-parse --short HEAD)." \
    "Percent of the samples of whole runs, loading and the last checkpoint included;" \
    "the work is that of \`cargo xtask bench\`." \
    "Made by [experiments/bench/profile.sh](../experiments/bench/profile.sh)."
echo
awk -F '\t' -v cases="$cases" '
    { share[$1, $2] = $3; if (!seen[$2]++) order[++n] = $2 }
    END {
        columns = split(cases, case, " ")
        header = "| |"; rule = "| --- |"
        for (c = 1; c <= columns; c++) { header = header " " case[c] " |"; rule = rule " ---: |" }
        print header; print rule
        for (i = 1; i <= n; i++) {
            row = "| " order[i] " |"
            for (c = 1; c <= columns; c++) row = row " " share[case[c], order[i]] " |"
            print row
        }
    }' "$scratch/shares.tsv"
