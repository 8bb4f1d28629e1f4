#!/usr/bin/env bash
# build_tracer.sh OUTPUT: compiles trace_kernels.c with gcc (or CC), and CUPTI of a CUDA toolkit
# (CUDA_PATH, or /usr/local/cuda) or of the wheels that PYTHON has: nvidia-cuda-cupti,
# nvidia-cuda-runtime and nvidia-cuda-crt.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
output=${1:?"usage: build_tracer.sh OUTPUT"}
wheels=$("${PYTHON:-python3}" -c '
import importlib.util
found = importlib.util.find_spec("nvidia")
print("\n".join(found.submodule_search_locations if found else []))')
folders=(${CUDA_PATH:+"$CUDA_PATH"} /usr/local/cuda)
for wheel in $wheels; do folders+=("$wheel"/*); done
headers=() library=
for folder in "${folders[@]}"; do
    for part in "$folder" "$folder/extras/CUPTI"; do
        [ ! -d "$part/include" ] || headers+=("-I$part/include")
        for found in "$part"/lib64/libcupti.so* "$part"/lib/libcupti.so*; do
            [ -n "$library" ] || [ ! -f "$found" ] || library=$found
        done
    done
done
if [ -z "$library" ]; then
    echo "build_tracer.sh: none of these has libcupti.so: ${folders[*]}" >&2
    exit 1
fi
"${CC:-gcc}" -O2 -Wall -Wextra -shared -fPIC "${headers[@]}" "$here/trace_kernels.c" "$library" \
    -o "$output"
