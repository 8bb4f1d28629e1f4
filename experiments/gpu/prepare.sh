#!/usr/bin/env bash
# prepare.sh MODEL RACE_PARQUET BUILD...: fills .device (ignored by git) with what check.sh needs on
# a machine that has a GPU but neither Rust nor a network: the binaries with CUDA, a tokenizer, the
# shape of a model and a few hundred questions. BUILD is a script that takes a folder and arguments
# of `cargo rustc`, and leaves NAME.xz and libllvm_stub.so there.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ $# -ge 3 ] || { sed -n 2,5p "$0" | cut -c3-; exit 2; }
model=$1 rows=$2; shift 2
mkdir -p .device/tokenizer
cp "$model/config.json" .device/
cp "$model"/*token* .device/tokenizer/
"${PYTHON:-python3}" - "$rows" .device/rows.parquet <<'PYTHON'
import sys
import pyarrow.parquet
table = pyarrow.parquet.read_table(sys.argv[1]).slice(0, 400)
pyarrow.parquet.write_table(table, sys.argv[2], compression="zstd")
PYTHON
"$@" .device --bin plw -p plw --features cuda
"$@" .device --test device -p plw-kernels --features cuda
mv -f .device/device-*.xz .device/device.xz
ls -l .device
