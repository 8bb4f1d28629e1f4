// A CUDA driver that computes on the CPU.
//
// Every stream is a thread, which does its work in order. Only events order the work of two
// streams: EMULATOR_DELAY has streams wait at times, for up to so many microseconds, so that what
// no event orders comes in any order. Device memory is the host's, with all bits set when it is
// allocated, and pages before and behind it that nothing may access. Copies of pinned memory happen
// when the stream comes to them; what is copied from or to other memory is copied as CUDA does, at
// once or waited for.

#include "driver.h"

#include <condition_variable>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../h100.h"

// Never destroyed: streams wait for them while the program ends.
static std::mutex &lock = *new std::mutex;
static std::condition_variable &changed = *new std::condition_variable;

struct Stream {
    std::deque<std::function<void()>> waiting;
    uint64_t queued = 0, done = 0;
};

struct Event {
    Stream *stream = nullptr;
    uint64_t position = 0;
};

static std::set<Stream *> &streams = *new std::set<Stream *>;

void refuse(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "emulator: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    _exit(70);
}

std::filesystem::path cache() {
    const char *named = getenv("EMULATOR_CACHE"), *home = getenv("HOME");
    std::filesystem::path path = named ? named : home ? home : "/tmp";
    if (!named) path /= ".cache/plw-emulator";
    std::error_code error;
    std::filesystem::create_directories(path, error);
    if (!std::filesystem::is_directory(path, error) || access(path.c_str(), W_OK) != 0)
        refuse("cannot write to %s: name another folder in EMULATOR_CACHE", path.c_str());
    return path;
}

static unsigned most_delay() {
    const char *named = getenv("EMULATOR_DELAY");
    return named ? atoi(named) : 0;
}

static void run(Stream *stream, unsigned number) {
    std::minstd_rand random(number);
    unsigned delay = most_delay();
    in_progress = "a copy or a product";
    std::unique_lock<std::mutex> guard(lock);
    for (;;) {
        changed.wait(guard, [=] { return !stream->waiting.empty(); });
        auto work = std::move(stream->waiting.front());
        stream->waiting.pop_front();
        guard.unlock();
        if (delay != 0 && random() % 16 == 0) usleep(random() % delay);
        work();
        work = nullptr;
        guard.lock();
        stream->done++;
        changed.notify_all();
    }
}

static Stream *new_stream() {
    std::lock_guard<std::mutex> guard(lock);
    Stream *stream = new Stream;
    streams.insert(stream);
    std::thread(run, stream, (unsigned)streams.size()).detach();
    return stream;
}

static Stream *of(Stream *stream) {
    static Stream *first = new_stream();
    return stream ? stream : first;
}

void queue(Stream *stream, std::function<void()> work) {
    stream = of(stream);
    std::lock_guard<std::mutex> guard(lock);
    stream->waiting.push_back(std::move(work));
    stream->queued++;
    changed.notify_all();
}

static Event recorded_of(const Event *event) {
    std::lock_guard<std::mutex> guard(lock);
    return *event;
}

static void wait_until(Stream *stream, uint64_t position) {
    std::unique_lock<std::mutex> guard(lock);
    changed.wait(guard, [=] { return stream->done >= position; });
}

static void wait_for_all(Stream *stream) {
    stream = of(stream);
    std::unique_lock<std::mutex> guard(lock);
    uint64_t position = stream->queued;
    changed.wait(guard, [=] { return stream->done >= position; });
}

static void wait_for_device() {
    std::unique_lock<std::mutex> guard(lock);
    std::map<Stream *, uint64_t> until;
    for (Stream *stream : streams) until[stream] = stream->queued;
    changed.wait(guard, [&] {
        for (auto [stream, position] : until)
            if (stream->done < position) return false;
        return true;
    });
}

// Allocations and pinned memory by address.
static std::map<uint64_t, size_t> &allocations = *new std::map<uint64_t, size_t>;
static std::map<uint64_t, size_t> &pinned = *new std::map<uint64_t, size_t>;
static uint64_t allocated;

static bool holds(const std::map<uint64_t, size_t> &ranges, const void *at) {
    std::lock_guard<std::mutex> guard(lock);
    auto after = ranges.upper_bound((uint64_t)at);
    if (after == ranges.begin()) return false;
    auto range = std::prev(after);
    return (uint64_t)at < range->first + range->second;
}

constexpr size_t PAGE = 4096;

static size_t rounded_up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

// The bytes that are mapped for an allocation, without the pages around it.
static size_t mapped(size_t bytes) { return rounded_up(bytes, PAGE); }

// The page before an allocation.
static char *before(CUdeviceptr address) { return (char *)(address / PAGE * PAGE - PAGE); }

// Memory that ends where the page behind it begins, or less than 512 bytes before: CUDA's begins at
// a multiple of so many.
static void *map(size_t bytes) {
    size_t length = mapped(bytes);
    void *pages = mmap(nullptr, length + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) return nullptr;
    char *first = (char *)pages + PAGE;
    if (mprotect(first, length, PROT_READ | PROT_WRITE) != 0) {
        munmap(pages, length + 2 * PAGE);
        return nullptr;
    }
    return first + length - rounded_up(bytes, 512);
}

static CUresult allocate(CUdeviceptr *address, size_t bytes) {
    std::lock_guard<std::mutex> guard(lock);
    if (bytes == 0) return INVALID_VALUE;
    void *memory = allocated + bytes > MEMORY ? nullptr : map(bytes);
    if (!memory) return OUT_OF_MEMORY;
    memset(memory, 0xff, bytes);
    *address = (CUdeviceptr)memory;
    allocations[*address] = bytes;
    allocated += bytes;
    return SUCCESS;
}

static CUresult release(CUdeviceptr address) {
    std::lock_guard<std::mutex> guard(lock);
    auto found = allocations.find(address);
    if (found == allocations.end()) return INVALID_VALUE;
    allocated -= found->second;
    munmap(before(address), mapped(found->second) + 2 * PAGE);
    allocations.erase(found);
    return SUCCESS;
}

// A kernel of a module.
struct Function {
    std::string name;
    void (*start)(void **, const unsigned *, const unsigned *, unsigned);
    const size_t *sizes;
    int shared_memory = 48 << 10;
};

extern "C" {

CUresult cuInit(unsigned flags) {
    report_faults();
    return SUCCESS;
}

CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t bytes) { return allocate(address, bytes); }
CUresult cuMemAllocAsync(CUdeviceptr *address, size_t bytes, Stream *stream) {
    *address = 0;
    return bytes == 0 ? SUCCESS : allocate(address, bytes);
}
CUresult cuMemFree_v2(CUdeviceptr address) {
    wait_for_device();
    return release(address);
}
CUresult cuMemFreeAsync(CUdeviceptr address, Stream *stream) {
    if (address != 0) queue(stream, [=] { release(address); });
    return SUCCESS;
}
CUresult cuMemAllocHost_v2(void **memory, size_t bytes) {
    *memory = malloc(bytes);
    if (!*memory) return OUT_OF_MEMORY;
    std::lock_guard<std::mutex> guard(lock);
    pinned[(uint64_t)*memory] = bytes;
    return SUCCESS;
}
CUresult cuMemHostAlloc(void **memory, size_t bytes, unsigned flags) {
    return cuMemAllocHost_v2(memory, bytes);
}
CUresult cuMemFreeHost(void *memory) {
    wait_for_device();
    std::lock_guard<std::mutex> guard(lock);
    pinned.erase((uint64_t)memory);
    free(memory);
    return SUCCESS;
}
CUresult cuMemGetInfo_v2(size_t *left, size_t *total) {
    std::lock_guard<std::mutex> guard(lock);
    *left = MEMORY - allocated;
    *total = MEMORY;
    return SUCCESS;
}

CUresult cuMemcpy2DAsync_v2(const struct Copy2D *copied, Stream *stream) {
    struct Copy2D copy = *copied;
    bool from_host = copy.from_type == ON_HOST, to_host = copy.to_type == ON_HOST;
    const char *from = from_host ? (const char *)copy.from_host : (const char *)copy.from_device;
    char *to = to_host ? copy.to_host : (char *)copy.to_device;
    size_t from_pitch = copy.from_pitch ? copy.from_pitch : copy.width;
    size_t to_pitch = copy.to_pitch ? copy.to_pitch : copy.width;
    from += copy.from_y * from_pitch + copy.from_x;
    to += copy.to_y * to_pitch + copy.to_x;
    std::shared_ptr<std::vector<char>> kept;
    if (from_host && !holds(pinned, from)) {
        kept = std::make_shared<std::vector<char>>(copy.width * copy.height);
        for (size_t row = 0; row < copy.height; row++)
            memcpy(kept->data() + row * copy.width, from + row * from_pitch, copy.width);
        from = kept->data();
        from_pitch = copy.width;
    }
    queue(stream, [=] {
        for (size_t row = 0; row < copy.height; row++)
            memcpy(to + row * to_pitch, from + row * from_pitch, copy.width);
        (void)kept;
    });
    if (to_host && !holds(pinned, to)) wait_for_all(stream);
    return SUCCESS;
}

static CUresult copy(void *to, const void *from, size_t bytes, int to_type, int from_type,
                     Stream *stream) {
    struct Copy2D copied = {};
    copied.from_type = from_type;
    copied.to_type = to_type;
    copied.from_host = from;
    copied.from_device = (CUdeviceptr)from;
    copied.to_host = (char *)to;
    copied.to_device = (CUdeviceptr)to;
    copied.width = bytes;
    copied.height = 1;
    return cuMemcpy2DAsync_v2(&copied, stream);
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, Stream *stream) {
    return copy((void *)to, from, bytes, 0, ON_HOST, stream);
}
CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, Stream *stream) {
    return copy(to, (const void *)from, bytes, ON_HOST, 0, stream);
}
CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, Stream *stream) {
    return copy((void *)to, (const void *)from, bytes, 0, 0, stream);
}
CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes, Stream *stream) {
    queue(stream, [=] { memset((void *)to, value, bytes); });
    return SUCCESS;
}

CUresult cuModuleLoadData(void **module, const char *image) {
    *module = dlopen(image, RTLD_NOW | RTLD_LOCAL);
    if (!*module) refuse("%s", dlerror());
    return SUCCESS;
}
CUresult cuModuleUnload(void *module) { return SUCCESS; }
CUresult cuModuleGetFunction(Function **function, void *module, const char *name) {
    void *start = dlsym(module, (std::string("start_") + name).c_str());
    void *sizes = dlsym(module, (std::string("sizes_") + name).c_str());
    if (!start || !sizes) refuse("no kernel %s", name);
    *function = new Function{name, (decltype(Function::start))start, *(const size_t **)sizes};
    return SUCCESS;
}
CUresult cuFuncSetAttribute(Function *function, int attribute, int value) {
    return set_attribute(&function->shared_memory, attribute, value);
}
CUresult cuLaunchKernel(Function *function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                        unsigned block_x, unsigned block_y, unsigned block_z, unsigned bytes,
                        Stream *stream, void **parameters, void **extra) {
    std::vector<unsigned> grid = {grid_x, grid_y, grid_z}, block = {block_x, block_y, block_z};
    if (!may_start(function->name.c_str(), grid.data(), block.data(), bytes,
                   function->shared_memory))
        return INVALID_VALUE;
    std::vector<std::vector<char>> kept;
    for (const size_t *size = function->sizes; *size != 0; size++) {
        const char *parameter = (const char *)parameters[kept.size()];
        kept.emplace_back(parameter, parameter + *size);
    }
    queue(stream, [=]() mutable {
        std::vector<void *> addresses;
        for (auto &parameter : kept) addresses.push_back(parameter.data());
        const char *other = std::exchange(in_progress, function->name.c_str());
        function->start(addresses.data(), grid.data(), block.data(), bytes);
        in_progress = other;
    });
    return SUCCESS;
}

CUresult cuCtxSynchronize(void) {
    wait_for_device();
    return SUCCESS;
}
CUresult cuStreamCreate(Stream **stream, unsigned flags) {
    *stream = new_stream();
    return SUCCESS;
}
CUresult cuStreamCreateWithPriority(Stream **stream, unsigned flags, int priority) {
    return cuStreamCreate(stream, flags);
}
CUresult cuStreamDestroy_v2(Stream *stream) {
    wait_for_all(stream);
    return SUCCESS;
}
CUresult cuStreamSynchronize(Stream *stream) {
    wait_for_all(stream);
    return SUCCESS;
}
CUresult cuStreamWaitEvent(Stream *stream, Event *event, unsigned flags) {
    Event recorded = recorded_of(event);
    if (recorded.stream)
        queue(stream, [=] { wait_until(recorded.stream, recorded.position); });
    return SUCCESS;
}

CUresult cuEventCreate(Event **event, unsigned flags) {
    *event = new Event;
    return SUCCESS;
}
CUresult cuEventDestroy_v2(Event *event) {
    delete event;
    return SUCCESS;
}
CUresult cuEventRecord(Event *event, Stream *stream) {
    stream = of(stream);
    std::lock_guard<std::mutex> guard(lock);
    *event = {stream, stream->queued};
    return SUCCESS;
}
CUresult cuEventQuery(Event *event) {
    enum { NOT_READY = 600 };
    std::lock_guard<std::mutex> guard(lock);
    bool is_done = !event->stream || event->stream->done >= event->position;
    return is_done ? SUCCESS : (CUresult)NOT_READY;
}
CUresult cuEventSynchronize(Event *event) {
    Event recorded = recorded_of(event);
    if (recorded.stream) wait_until(recorded.stream, recorded.position);
    return SUCCESS;
}

} // extern "C"
