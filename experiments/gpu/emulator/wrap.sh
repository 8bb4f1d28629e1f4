#!/usr/bin/env bash
# wrap.sh PROGRAM FOLDER NAME: leaves in FOLDER, where build.sh has put the emulator, a script NAME
# that runs a program with CUDA on it. The program may have been linked without LLVM (CubeCL calls
# none of it for CUDA C++): a function of LLVM that is called ends the program.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$(cd "$2" && pwd)
cp "$1" "$folder/$3.bin"
{
    echo '#include <stdio.h>'
    echo '#include <stdlib.h>'
    echo 'static void stop(const char *name) { fprintf(stderr, "%s: no LLVM\n", name); abort(); }'
    nm -D --undefined-only "$1" | awk '$NF ~ /^(LLVM|cubecl_)/ {
        print "void " $NF "(void) { stop(\"" $NF "\"); }" }'
} | "${CC:-cc}" -shared -fPIC -O1 -x c - -o "$folder/libllvm-of-$3.so"
cat >"$folder/$3" <<SCRIPT
#!/bin/sh
# Of this program, so that what it makes is made again with another: $(sha256sum <"$1")
export LD_LIBRARY_PATH="$folder" CUDA_PATH="$here"
export EMULATOR_CACHE="\${EMULATOR_CACHE:-$folder/kernels}"
LD_PRELOAD="$folder/libllvm-of-$3.so" exec "$folder/$3.bin" "\$@"
SCRIPT
chmod +x "$folder/$3"
