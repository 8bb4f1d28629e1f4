#!/usr/bin/env bash
# check.sh STAGE: checks plw on a machine with a GPU. It builds nothing and downloads nothing. The
# folder .device (or that of DEVICE_FILES) holds what prepare.sh put there; results go to $OUT (or
# .device/out). Each stage ends within five minutes and prints its table last.
#
#   right   property tests on the device; losses, gradient norms, logits, resume against PyTorch's
#           f32 on the same card and plw's CPU
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
stage=${1:?"usage: check.sh STAGE (right)"}
device=$(cd "${DEVICE_FILES:-.device}" && pwd)
out=${OUT:-$device/out}
work=${WORK:-/tmp/plw-device}
mkdir -p "$out" "$work"

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || true
for name in plw device; do
    [ -x "$work/$name" ] || { xz -dc "$device/$name.xz" >"$work/$name" && chmod +x "$work/$name"; }
done
# The binaries were linked without LLVM, which they never call: the stub stands for it.
export LD_PRELOAD=$device/libllvm_stub.so
# PyTorch's wheels bring NVRTC and cuBLASLt.
python=${PYTHON:-python3}
libraries=$(env -u LD_PRELOAD "$python" -c '
import glob, site
print(":".join(sorted({p.rsplit("/", 1)[0] for s in site.getsitepackages()
                       for p in glob.glob(s + "/nvidia/**/*.so*", recursive=True)})))')
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export CUDA_PATH=${CUDA_PATH:-/usr/local/cuda}
"$work/plw" devices || true

case $stage in
    right)
        exec env -u LD_PRELOAD LLVM_STUB="$LD_PRELOAD" "$python" "$here/right.py" \
            --plw "$work/plw" --tests "$work/device" --peer "$here/../peer" \
            --config "$device/config.json" --tokenizer "$device/tokenizer" \
            --data "$device/rows.parquet" --work "$work/right" --out "$out"
        ;;
    *) echo "check.sh: there is no stage $stage; there is: right" >&2; exit 2 ;;
esac
