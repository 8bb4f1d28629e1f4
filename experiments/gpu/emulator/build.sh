#!/usr/bin/env bash
# build.sh FOLDER: builds the emulator as the libraries that a program with CUDA opens:
#   LD_LIBRARY_PATH=FOLDER PROGRAM
# Needs a C++ compiler (c++, or that of CXX), here and when the program compiles its kernels.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
"${CXX:-c++}" -std=c++17 -O3 -march=native -ffp-contract=off -fopenmp -Wall -Wno-unused-function \
    -shared -fPIC -DEMULATOR_SOURCES="\"$here\"" -o "$1/libcuda.so.1" "$here"/*.cc -ldl -lpthread
for name in libcuda.so libnvrtc.so libcublasLt.so libnccl.so; do
    ln -sf libcuda.so.1 "$1/$name"
done
