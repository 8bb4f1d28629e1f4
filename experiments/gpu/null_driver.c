// A CUDA driver and a cuBLASLt without a GPU: every call succeeds, and no kernel runs.
//
// A program that is run with it compiles each of its kernels with NVRTC, allocates the memory that
// it would allocate on an H100, and takes the time that the host needs, without that of the
// driver's own calls. Memory has addresses alone: what is copied to it is dropped, and reads as
// zero.
//
//   gcc -O2 -shared -fPIC -o libcuda.so.1 null_driver.c
//   ln -s libcuda.so.1 libcuda.so; ln -s libcuda.so.1 libcublasLt.so
//   NULL_DRIVER_OUT=FOLDER LD_LIBRARY_PATH=... PROGRAM
//
// leaves in FOLDER each module's PTX, and calls.json: how often what was called and with how many
// bytes (of a kernel those of shared memory), by kernel and by function of the driver, and the
// allocations at the peak. A launch that no H100 takes is refused.

#define _GNU_SOURCE
#include <pthread.h>
#include <unistd.h>

#include "h100.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

// Counts by name.
struct Count {
    const char *name;
    uint64_t calls, bytes;
};
static struct Count counts[4096];
static int names;

static struct Count *count_of(const char *name) {
    pthread_mutex_lock(&lock);
    int place = 0;
    while (place < names && strcmp(counts[place].name, name) != 0) place++;
    if (place == names) {
        if (names == sizeof counts / sizeof *counts) abort();
        counts[names++].name = strdup(name);
    }
    pthread_mutex_unlock(&lock);
    return &counts[place];
}

static void count(struct Count *counted, uint64_t bytes) {
    __atomic_fetch_add(&counted->calls, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&counted->bytes, bytes, __ATOMIC_RELAXED);
}

// Each place looks its name up once: the host's time is measured.
#define COUNT(name, bytes)                                            \
    do {                                                              \
        static struct Count *counted;                                 \
        if (!counted) counted = count_of(name);                       \
        count(counted, bytes);                                        \
    } while (0)
#define CALL() COUNT(__func__, 0)

// Memory.

struct Allocation {
    CUdeviceptr start;
    size_t bytes;
};
static struct Allocation allocations[1 << 16], at_peak[1 << 16];
static int live, live_at_peak;
static uint64_t allocated, most_allocated, most_while_loading;

static CUresult allocate(CUdeviceptr *address, size_t bytes) {
    // Above what a process of the host can have.
    static CUdeviceptr next = 1ull << 48;
    pthread_mutex_lock(&lock);
    CUresult result = OUT_OF_MEMORY;
    if (allocated + bytes <= MEMORY && live < 1 << 16) {
        result = SUCCESS;
        *address = next;
        next += (bytes + 0x1fffff) & ~0x1fffffull;
        allocations[live++] = (struct Allocation){*address, bytes};
        allocated += bytes;
        if (allocated > most_allocated) {
            most_allocated = allocated;
            live_at_peak = live;
            memcpy(at_peak, allocations, live * sizeof *allocations);
        }
    }
    pthread_mutex_unlock(&lock);
    return result;
}

static CUresult release(CUdeviceptr address) {
    pthread_mutex_lock(&lock);
    CUresult result = INVALID_VALUE;
    for (int place = 0; place < live; place++)
        if (allocations[place].start == address) {
            allocated -= allocations[place].bytes;
            allocations[place] = allocations[--live];
            result = SUCCESS;
            break;
        }
    pthread_mutex_unlock(&lock);
    return result;
}

CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t bytes) {
    COUNT(__func__, bytes);
    return allocate(address, bytes);
}
CUresult cuMemAllocAsync(CUdeviceptr *address, size_t bytes, void *stream) {
    COUNT(__func__, bytes);
    return allocate(address, bytes);
}
CUresult cuMemFree_v2(CUdeviceptr address) { CALL(); return release(address); }
CUresult cuMemFreeAsync(CUdeviceptr address, void *stream) { CALL(); return release(address); }

CUresult cuMemAllocHost_v2(void **memory, size_t bytes) {
    COUNT(__func__, bytes);
    *memory = calloc(1, bytes);
    return *memory ? SUCCESS : OUT_OF_MEMORY;
}
CUresult cuMemHostAlloc(void **memory, size_t bytes, unsigned flags) {
    return cuMemAllocHost_v2(memory, bytes);
}
CUresult cuMemFreeHost(void *memory) { CALL(); free(memory); return SUCCESS; }

CUresult cuMemGetInfo_v2(size_t *left, size_t *total) {
    CALL();
    *left = MEMORY - allocated;
    *total = MEMORY;
    return SUCCESS;
}

#define FROM_HOST "copies from the host"
#define TO_HOST "copies to the host"

// Matrices of a large model alone are of such a size.
static void note_loading(size_t bytes) {
    if (bytes >= 16 << 20) most_while_loading = most_allocated;
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, void *stream) {
    COUNT(FROM_HOST, bytes);
    note_loading(bytes);
    return SUCCESS;
}
CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, void *stream) {
    COUNT(TO_HOST, bytes);
    memset(to, 0, bytes);
    return SUCCESS;
}
CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, void *stream) {
    COUNT(__func__, bytes);
    return SUCCESS;
}

CUresult cuMemcpy2DAsync_v2(const struct Copy2D *copied, void *stream) {
    size_t bytes = copied->width * copied->height;
    if (copied->from_type == ON_HOST) {
        COUNT(FROM_HOST, bytes);
        note_loading(bytes);
    }
    if (copied->to_type == ON_HOST) {
        COUNT(TO_HOST, bytes);
        for (size_t row = 0; row < copied->height; row++)
            memset(copied->to_host + row * copied->to_pitch, 0, copied->width);
    }
    return SUCCESS;
}

// Modules and launches.

struct Function {
    struct Count *launches;
    int shared_memory;
};

static const char *out(void) { return getenv("NULL_DRIVER_OUT"); }

CUresult cuModuleLoadData(void **module, const void *image) {
    static int loaded;
    CALL();
    pthread_mutex_lock(&lock);
    int number = loaded++;
    pthread_mutex_unlock(&lock);
    char path[4096];
    if (out()) {
        snprintf(path, sizeof path, "%s/%d-%04d.ptx", out(), getpid(), number);
        FILE *file = fopen(path, "w");
        if (file) { fputs(image, file); fclose(file); }
    }
    *module = calloc(1, 1);
    return SUCCESS;
}
CUresult cuModuleUnload(void *module) { CALL(); return SUCCESS; }
CUresult cuModuleGetFunction(struct Function **function, void *module, const char *name) {
    CALL();
    *function = calloc(1, sizeof **function);
    (*function)->launches = count_of(name);
    (*function)->shared_memory = 48 << 10;
    return SUCCESS;
}
CUresult cuFuncSetAttribute(struct Function *function, int attribute, int value) {
    CALL();
    return set_attribute(&function->shared_memory, attribute, value);
}
CUresult cuLaunchKernel(struct Function *function, unsigned grid_x, unsigned grid_y,
                        unsigned grid_z, unsigned block_x, unsigned block_y, unsigned block_z,
                        unsigned shared_memory, void *stream, void **parameters, void **extra) {
    unsigned grid[3] = {grid_x, grid_y, grid_z}, block[3] = {block_x, block_y, block_z};
    count(function->launches, shared_memory);
    return may_start(function->launches->name, grid, block, shared_memory, function->shared_memory)
        ? SUCCESS
        : INVALID_VALUE;
}

// The device, its context, streams and events.

CUresult cuInit(unsigned flags) { CALL(); return SUCCESS; }
CUresult cuCtxSynchronize(void) { CALL(); return SUCCESS; }
CUresult cuCtxRecordEvent(void *recorded, void *event) { CALL(); return SUCCESS; }
CUresult cuCtxWaitEvent(void *waiting, void *event) { CALL(); return SUCCESS; }

CUresult cuStreamCreate(void **stream, unsigned flags) {
    *stream = calloc(1, 1);
    return SUCCESS;
}
CUresult cuStreamCreateWithPriority(void **stream, unsigned flags, int priority) {
    return cuStreamCreate(stream, flags);
}
CUresult cuStreamDestroy_v2(void *stream) { return SUCCESS; }
CUresult cuStreamSynchronize(void *stream) { CALL(); return SUCCESS; }
CUresult cuStreamWaitEvent(void *stream, void *event, unsigned flags) { CALL(); return SUCCESS; }

CUresult cuEventCreate(void **event, unsigned flags) {
    *event = calloc(1, 1);
    return SUCCESS;
}
CUresult cuEventDestroy_v2(void *event) { free(event); return SUCCESS; }
CUresult cuEventRecord(void *event, void *stream) { CALL(); return SUCCESS; }
CUresult cuEventQuery(void *event) { CALL(); return SUCCESS; }
CUresult cuEventSynchronize(void *event) { CALL(); return SUCCESS; }

// cuBLASLt, which takes every product.

int cublasLtCreate(void **handle) { *handle = calloc(1, 1); return SUCCESS; }
int cublasLtMatrixLayoutCreate(void **layout, int type, uint64_t rows, uint64_t columns,
                               int64_t stride) {
    *layout = calloc(1, 1);
    return SUCCESS;
}
int cublasLtMatrixLayoutDestroy(void *layout) { free(layout); return SUCCESS; }
int cublasLtMatmulDescCreate(void **description, int compute, int scale) {
    *description = calloc(1, 1);
    return SUCCESS;
}
int cublasLtMatmulDescDestroy(void *description) { free(description); return SUCCESS; }
int cublasLtMatmulDescSetAttribute(void *description, int attribute, const void *value,
                                   size_t bytes) {
    return SUCCESS;
}
int cublasLtMatmulPreferenceCreate(void **preference) {
    *preference = calloc(1, 1);
    return SUCCESS;
}
int cublasLtMatmulPreferenceDestroy(void *preference) { free(preference); return SUCCESS; }
int cublasLtMatmulPreferenceSetAttribute(void *preference, int attribute, const void *value,
                                         size_t bytes) {
    return SUCCESS;
}
int cublasLtMatmulAlgoGetHeuristic(void *handle, void *description, void *left, void *right,
                                   void *addend, void *output, void *preference, int asked,
                                   void *found, int *returned) {
    CALL();
    memset(found, 0, 96); // cublasLtMatmulHeuristicResult_t, of the state success
    *returned = 1;
    return SUCCESS;
}
int cublasLtMatmul(void *handle, void *description, const void *alpha, const void *left,
                   void *left_layout, const void *right, void *right_layout, const void *beta,
                   const void *addend, void *addend_layout, void *output, void *output_layout,
                   const void *algorithm, void *workspace, size_t bytes, void *stream) {
    CALL();
    return SUCCESS;
}

__attribute__((destructor)) static void report(void) {
    if (!out() || names == 0) return;
    char path[4096];
    snprintf(path, sizeof path, "%s/%d-calls.json", out(), getpid());
    FILE *file = fopen(path, "w");
    if (!file) return;
    fprintf(file, "{\"most_while_loading\": %llu,\n\"allocations_at_peak\": [",
            (unsigned long long)most_while_loading);
    for (int place = 0; place < live_at_peak; place++)
        fprintf(file, "%s%zu", place ? ", " : "", at_peak[place].bytes);
    fprintf(file, "],\n\"calls\": {");
    for (int place = 0; place < names; place++)
        fprintf(file, "%s\n\"%s\": [%llu, %llu]", place ? "," : "", counts[place].name,
                (unsigned long long)counts[place].calls, (unsigned long long)counts[place].bytes);
    fprintf(file, "}}\n");
    fclose(file);
}
