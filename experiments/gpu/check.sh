#!/usr/bin/env bash
# check.sh STAGE [OPTIONS]: checks plw on a machine with a GPU. It builds nothing and downloads
# nothing. The folder .device (or that of DEVICE_FILES) holds what prepare.sh put there; results go
# to $OUT (or .device/out). Each stage ends within five minutes and prints its table last. OPTIONS
# go to the stage's program (`check.sh fast --help`).
#
#   right   property tests on the device; losses, gradient norms, logits, resume against PyTorch's
#           f32 on the same card and plw's CPU
#   fast    speed and memory of training and evaluation beside PyTorch's best setting
#   profile where the time of a step goes: ten steps of the small model, traced kernel by kernel
#   attention
#           attention's kernels against f64, and their speed beside PyTorch's
#   presets a few steps, an evaluation and a checkpoint of the presets with Llama-2-7B
#
# README.md beside this file says how to spend a few minutes on a GPU well.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
stage=${1:-none}
case $stage in
    right) binaries=(plw device golden) ;;
    fast | profile | attention | presets) binaries=(plw) ;;
    *) sed -n 2,14p "$0" | cut -c3-; exit 2 ;;
esac
shift
if ! [ -d "${DEVICE_FILES:-.device}" ]; then
    echo "check.sh: there is no ${DEVICE_FILES:-.device}; prepare.sh makes it" >&2
    exit 2
fi
device=$(cd "${DEVICE_FILES:-.device}" && pwd)
out=${OUT:-$device/out}
work=${WORK:-/tmp/plw-device}
python=${PYTHON:-python3}
mkdir -p "$out" "$work"

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader ||
    echo "check.sh: nvidia-smi names no GPU"
# Always unpacked: the folder may hold an older build's.
for name in "${binaries[@]}"; do
    # Checks that need none of the tests' programs run without them, and none with an older build's.
    if [ "$name" != plw ] && ! [ -f "$device/$name.xz" ]; then
        echo "check.sh: there is no $device/$name.xz"
        rm -f "$work/$name"
        continue
    fi
    if command -v xz >/dev/null; then
        xz -dc "$device/$name.xz" >"$work/$name"
    else
        "$python" -c 'import lzma, shutil, sys
shutil.copyfileobj(lzma.open(sys.argv[1]), sys.stdout.buffer)' "$device/$name.xz" >"$work/$name"
    fi
    chmod +x "$work/$name"
done
# The binaries were linked without LLVM, which they never call: the stubs stand for it.
LLVM_STUB=$(find "$device" -maxdepth 1 -name '*stub*.so' -printf '%p:')
export LLVM_STUB=${LLVM_STUB%:}
# PyTorch's wheels bring NVRTC and cuBLASLt, and as a toolkit their headers.
wheels=$("$python" -c '
import glob, importlib.util
found = importlib.util.find_spec("nvidia")
print("\n".join(found.submodule_search_locations if found else []))')
for folder in $wheels; do
    for libraries in "$folder"/*/lib; do
        [ -d "$libraries" ] && export LD_LIBRARY_PATH="$libraries:${LD_LIBRARY_PATH:-}"
    done
done
# NCCL is opened by a name that the wheels do not give it.
for wheel in $wheels; do
    nccl=$wheel/nccl/lib/libnccl.so.2
    [ -f "$nccl" ] && ln -sf "$nccl" "$work/libnccl.so"
done
export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}$work
nvcc=$(readlink -f "$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)" || true)
for toolkit in "${CUDA_PATH:-}" "${nvcc%/bin/nvcc}" /usr/local/cuda $(printf '%s/cu13 ' $wheels); do
    [ -f "$toolkit/include/cuda_bf16.h" ] && { export CUDA_PATH=$toolkit; break; }
done
export HF_HUB_OFFLINE=1
# Where Python may not write beside its packages, each process would compile all that it imports:
# some 10 s for PyTorch.
unset PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX=$work/pycache
[ -d "$device/python" ] && export PYTHONPATH="$device/python:${PYTHONPATH:-}"
echo "CUDA_PATH=${CUDA_PATH:-} LD_LIBRARY_PATH=$LD_LIBRARY_PATH"
LD_PRELOAD=$LLVM_STUB timeout 60 "$work/plw" devices || true

common=(--plw "$work/plw" --peer "$here/../peer" --work "$work/$stage" --out "$out")
case $stage in
    right)
        exec "$python" "$here/right.py" "${common[@]}" --tests "$work/device" \
            --golden "$work/golden" --package "$here/../../crates/model" \
            --config "$device/config.json" --tokenizer "$device/tokenizer" \
            --data "$device/rows.parquet" "$@"
        ;;
    fast | presets)
        exec "$python" "$here/$stage.py" "${common[@]}" --files "$device" "$@"
        ;;
    attention)
        exec "$python" "$here/attention.py" "$here/../../crates/kernels/src/cube/cuda/attention" \
            "$out/attention.json"
        ;;
    profile)
        tracer=$device/trace_kernels.so
        if ! [ -f "$tracer" ]; then
            tracer=$work/trace_kernels.so
            PYTHON=$python "$here/build_tracer.sh" "$tracer"
        fi
        exec "$python" "$here/step_profile.py" "${common[@]}" --files "$device" \
            --tracer "$tracer" "$@"
        ;;
esac
