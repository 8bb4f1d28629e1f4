// What a program learns of an H100 SXM from its driver, for drivers that stand for it.

#pragma once
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int CUresult;
typedef uint64_t CUdeviceptr;

enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2 };
enum { INVALID_CONTEXT = 201, NOT_SUPPORTED = 801 };

// An H100 SXM.
#define MEMORY (85024178176ull)
#define MOST_SHARED_MEMORY 232448
#define MOST_THREADS 1024
#define MOST_BLOCKS 65535
#define MOST_DEVICES 8

// As many as the environment variable H100S says, or one.
static int device_count(void) {
    const char *named = getenv("H100S");
    int count = named ? atoi(named) : 1;
    return count < 1 ? 1 : count > MOST_DEVICES ? MOST_DEVICES : count;
}

// CUDA_MEMCPY2D of cuda.h.
struct Copy2D {
    size_t from_x, from_y;
    int from_type;
    const void *from_host;
    CUdeviceptr from_device;
    void *from_array;
    size_t from_pitch, to_x, to_y;
    int to_type;
    char *to_host;
    CUdeviceptr to_device;
    void *to_array;
    size_t to_pitch, width, height;
};
enum { ON_HOST = 1 };

// Whether an H100 starts a kernel whose blocks may have so much shared memory.
static int may_start(const char *name, const unsigned *grid, const unsigned *block,
                     unsigned shared_memory, int most_shared_memory) {
    uint64_t threads = (uint64_t)block[0] * block[1] * block[2];
    uint64_t blocks = (uint64_t)grid[0] * grid[1] * grid[2];
    if (threads > 0 && threads <= MOST_THREADS && block[2] <= 64 && blocks > 0
        && grid[0] <= INT32_MAX && grid[1] <= MOST_BLOCKS && grid[2] <= MOST_BLOCKS
        && shared_memory <= (unsigned)most_shared_memory)
        return 1;
    fprintf(stderr, "%s does not start: %u x %u x %u blocks of %u x %u x %u threads, %u bytes of "
            "shared memory\n", name, grid[0], grid[1], grid[2], block[0], block[1], block[2],
            shared_memory);
    return 0;
}

// cuFuncSetAttribute for a kernel whose blocks may have so much shared memory.
static CUresult set_attribute(int *most_shared_memory, int attribute, int value) {
    enum { MAX_DYNAMIC_SHARED_SIZE_BYTES = 8 };
    if (attribute != MAX_DYNAMIC_SHARED_SIZE_BYTES) return SUCCESS;
    if (value > MOST_SHARED_MEMORY) return INVALID_VALUE;
    if (value > *most_shared_memory) *most_shared_memory = value;
    return SUCCESS;
}

#ifdef __cplusplus
extern "C" {
#endif

// NVRTC asks for tables that NVIDIA does not describe, and compiles without them.
CUresult cuGetExportTable(const void **table, const void *id) { return NOT_SUPPORTED; }
CUresult cuDriverGetVersion(int *version) { *version = 13000; return SUCCESS; }
CUresult cuDeviceGetCount(int *devices) { *devices = device_count(); return SUCCESS; }
CUresult cuDeviceGet(int *device, int number) {
    *device = number;
    return number >= 0 && number < device_count() ? SUCCESS : INVALID_VALUE;
}
CUresult cuDeviceGetName(char *name, int length, int device) {
    snprintf(name, length, "no H100");
    return SUCCESS;
}
CUresult cuDeviceGetPCIBusId(char *name, int length, int device) {
    snprintf(name, length, "0000:00:%02d.0", device);
    return SUCCESS;
}
CUresult cuDeviceGetUuid_v2(char *uuid, int device) { memset(uuid, device, 16); return SUCCESS; }
CUresult cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = MEMORY; return SUCCESS; }
CUresult cuDeviceGetAttribute(int *value, int attribute, int device) {
    // CUdevice_attribute of cuda.h.
    switch (attribute) {
        case 1: *value = MOST_THREADS; break;         // threads of a block
        case 2: case 3: *value = MOST_THREADS; break; // its x and y
        case 4: *value = 64; break;                   // its z
        case 5: *value = INT32_MAX; break;            // a grid's x
        case 6: case 7: *value = MOST_BLOCKS; break;  // its y and z
        case 8: *value = 48 << 10; break;             // static shared memory
        case 10: *value = 32; break;                  // warp
        case 16: *value = 132; break;                 // multiprocessors
        case 39: *value = 2048; break;                // threads of a multiprocessor
        case 75: *value = 9; break;                   // compute capability
        case 76: *value = 0; break;
        case 81: *value = 233472; break;              // shared memory of a multiprocessor
        case 97: *value = MOST_SHARED_MEMORY; break;  // shared memory of a block
        case 115: *value = 1; break;                  // memory pools
        default: *value = 0;
    }
    return SUCCESS;
}

// A device's context is its place here.
static char contexts[MOST_DEVICES];
static __thread void *current_context;

CUresult cuDevicePrimaryCtxRetain(void **retained, int device) {
    *retained = &contexts[device];
    return SUCCESS;
}
CUresult cuDevicePrimaryCtxRelease_v2(int device) { return SUCCESS; }
CUresult cuCtxSetCurrent(void *current) { current_context = current; return SUCCESS; }
CUresult cuCtxGetCurrent(void **current) { *current = current_context; return SUCCESS; }
CUresult cuCtxGetDevice(int *device) {
    if (!current_context) return INVALID_CONTEXT;
    *device = (int)((char *)current_context - contexts);
    return SUCCESS;
}
CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest) {
    *least = 0;
    *greatest = -5;
    return SUCCESS;
}
CUresult cuStreamIsCapturing(void *stream, int *status) { *status = 0; return SUCCESS; }

CUresult cuEventElapsedTime_v2(float *milliseconds, void *start, void *end) {
    *milliseconds = 0.001f;
    return SUCCESS;
}
CUresult cuEventElapsedTime(float *milliseconds, void *start, void *end) {
    return cuEventElapsedTime_v2(milliseconds, start, end);
}

CUresult cuGetErrorName(CUresult error, const char **name) {
    *name = error == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_INVALID_VALUE";
    return SUCCESS;
}
CUresult cuGetErrorString(CUresult error, const char **text) { return cuGetErrorName(error, text); }

#ifdef __cplusplus
}
#endif
