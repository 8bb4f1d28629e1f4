/* Traces what a CUDA program runs on the GPU. The file that TRACE_KERNELS names gets a line for
   each kernel and each copy: name, start and end in ns, stream, with tabs between them.

       CUDA_INJECTION64_PATH=.../trace_kernels.so TRACE_KERNELS=FILE PROGRAM

   NVIDIA's profilers do the same where they are installed; CUPTI comes with PyTorch. */
#include <cupti.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { BUFFER_BYTES = 8 << 20 };

static FILE *file;

static void line(const char *name, uint64_t start, uint64_t end, uint32_t stream) {
    fprintf(file, "%s\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu32 "\n", name, start, end, stream);
}

static void write_record(const CUpti_Activity *record) {
    if (record->kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) {
        const CUpti_ActivityKernel10 *kernel = (const CUpti_ActivityKernel10 *)record;
        line(kernel->name, kernel->start, kernel->end, kernel->streamId);
    } else if (record->kind == CUPTI_ACTIVITY_KIND_MEMCPY) {
        const CUpti_ActivityMemcpy6 *copy = (const CUpti_ActivityMemcpy6 *)record;
        char name[64];
        snprintf(name, sizeof name, "memcpy %d of %" PRIu64 " bytes", copy->copyKind, copy->bytes);
        line(name, copy->start, copy->end, copy->streamId);
    } else if (record->kind == CUPTI_ACTIVITY_KIND_MEMSET) {
        const CUpti_ActivityMemset4 *fill = (const CUpti_ActivityMemset4 *)record;
        line("memset", fill->start, fill->end, fill->streamId);
    }
}

static void request(uint8_t **buffer, size_t *size, size_t *most) {
    *size = BUFFER_BYTES;
    *most = 0;
    *buffer = aligned_alloc(8, BUFFER_BYTES);
}

static void complete(CUcontext context, uint32_t stream, uint8_t *buffer, size_t size,
                     size_t valid) {
    (void)context;
    (void)stream;
    (void)size;
    CUpti_Activity *record = NULL;
    while (cuptiActivityGetNextRecord(buffer, valid, &record) == CUPTI_SUCCESS) {
        write_record(record);
    }
    free(buffer);
}

static void finish(void) {
    cuptiActivityFlushAll(1);
    fflush(file);
}

/* The driver calls this when the program opens it. */
int InitializeInjection(void) {
    const char *path = getenv("TRACE_KERNELS");
    file = path ? fopen(path, "w") : NULL;
    if (!file) {
        fprintf(stderr, "trace_kernels: TRACE_KERNELS must name a file that can be written\n");
        return 0;
    }
    cuptiActivityRegisterCallbacks(request, complete);
    cuptiActivityEnable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL);
    cuptiActivityEnable(CUPTI_ACTIVITY_KIND_MEMCPY);
    cuptiActivityEnable(CUPTI_ACTIVITY_KIND_MEMSET);
    atexit(finish);
    return 1;
}
