#!/usr/bin/env bash
# prepare.sh MODEL RACE LLAMA_TOKENIZER BUILD...: fills .device (ignored by git) with what check.sh
# needs on a machine that has a GPU but neither Rust nor a network: the binaries with CUDA, shapes
# and tokenizers of a small model and of Llama-2-7B, and the first rows of RACE. RACE is a parquet
# file or a folder with some; LLAMA_TOKENIZER is a tokenizer.json. BUILD is a script that takes a
# folder and arguments of `cargo rustc`, and leaves NAME.xz and libllvm_stub.so there.
# BINARIES names what to build (plw; device, the property tests; golden, the golden checkpoints);
# the rest stays as it is.
# The tracer of check.sh's stage profile is built too, where PYTHON has CUPTI's wheels.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ $# -lt 4 ] || ! [ -f "$3" ]; then sed -n 2,9p "$0" | cut -c3-; exit 2; fi
model=$1 rows=$2 llama=$3; shift 3
mkdir -p .device/tokenizer .device/llama-tokenizer
cp "$model/config.json" .device/
cp experiments/gpu/llama2-7b.json .device/
cp "$model"/*token* .device/tokenizer/
cp "$llama" .device/llama-tokenizer/tokenizer.json
# Without its chat template plw and PyTorch would ask the questions in different words.
[ ! -f "$model/chat_template.jinja" ] || cp "$model/chat_template.jinja" .device/tokenizer/
"${PYTHON:-python3}" - "$rows" .device/rows.parquet <<'PYTHON'
import sys
from pathlib import Path

import pyarrow.parquet

place = Path(sys.argv[1])
files = [place]
if place.is_dir():
    files = sorted(place.rglob("train*.parquet")) or sorted(place.rglob("*.parquet"))
if not files:
    sys.exit(f"{place} has no parquet file")
table = pyarrow.parquet.ParquetFile(files[0]).read().slice(0, 2000)
pyarrow.parquet.write_table(table, sys.argv[2], compression="zstd")
PYTHON
for binary in ${BINARIES-plw device golden}; do
    case $binary in
        plw) "$@" .device --bin plw -p plw --features cuda ;;
        device)
            "$@" .device --test device -p plw-kernels --features nccl
            mv -f .device/device-*.xz .device/device.xz
            ;;
        golden)
            "$@" .device --test golden -p plw-model --features cuda
            mv -f .device/golden-*.xz .device/golden.xz
            ;;
        *)
            echo "prepare.sh: BINARIES may name plw, device and golden, not $binary" >&2
            exit 2
            ;;
    esac
    mv -f .device/libllvm_stub.so ".device/stub_$binary.so"
done
# For the peer's 4-bit weights, of which a machine with PyTorch need not have the package. Of its
# libraries that for CUDA 13.0 is enough.
package=$("${PYTHON:-python3}" -c '
import importlib.util
found = importlib.util.find_spec("bitsandbytes")
print(found.submodule_search_locations[0] if found else "")')
if [ -n "$package" ]; then
    rm -rf .device/python && mkdir -p .device/python
    tar -c -C "$(dirname "$package")" --exclude='*.so' --exclude=__pycache__ bitsandbytes |
        tar -x -C .device/python
    cp "$package/libbitsandbytes_cuda130.so" .device/python/bitsandbytes/
else
    echo "prepare.sh: without bitsandbytes; check.sh fast --rows 7b-qlora then needs it there"
fi
experiments/gpu/build_tracer.sh .device/trace_kernels.so ||
    echo "prepare.sh: without the tracer; check.sh profile then builds it where it runs"
du -sm .device
ls -l .device
