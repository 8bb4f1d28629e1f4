// NCCL for processes of one machine, on the CPU. Each operation of a communicator has a number, and
// each process leaves what it sends in a file of that number, which the others wait for. The files
// lie in the cache's folder, which all of the processes must share.

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include <unistd.h>

#include "driver.h"

namespace {

enum { SUCCESS = 0, INVALID_ARGUMENT = 4 };
enum { UINT8 = 1, FLOAT32 = 7 };
constexpr size_t ID = 128;
// Microseconds between two looks for a file, and looks in five minutes.
constexpr long WAIT = 100, MOST_WAITS = 300'000'000 / WAIT;

struct Id {
    char bytes[ID];
};

struct Communicator {
    std::string path;
    int processes, rank;
    std::atomic<bool> is_aborted{false};
    // Touched by the stream's thread alone.
    uint64_t operations = 0;

    std::string file(uint64_t operation, int of) const {
        return path + "-" + std::to_string(operation) + "-" + std::to_string(of);
    }

    // Leaves `bytes` for the others. When a process begins an operation, all have begun the one
    // before, and have read what was left for the one before that.
    uint64_t publish(const std::vector<char> &bytes) {
        uint64_t operation = ++operations;
        std::string name = file(operation, rank);
        std::ofstream part(name + ".part", std::ios::binary);
        part.write(bytes.data(), bytes.size());
        part.close();
        if (!part || rename((name + ".part").c_str(), name.c_str()) != 0)
            refuse("cannot write %s", name.c_str());
        if (operation > 2) unlink(file(operation - 2, rank).c_str());
        return operation;
    }

    // What process `of` left, from `start` on.
    void read(uint64_t operation, int of, size_t start, void *to, size_t bytes) const {
        std::string name = file(operation, of);
        for (long waited = 0; access(name.c_str(), F_OK) != 0; waited++) {
            if (is_aborted) return;
            if (waited == MOST_WAITS) refuse("process %d does not come to %s", of, name.c_str());
            usleep(WAIT);
        }
        std::ifstream from(name, std::ios::binary);
        from.seekg(start);
        from.read((char *)to, bytes);
        if ((size_t)from.gcount() != bytes)
            refuse("%s is shorter than what is received", name.c_str());
    }
};

struct Message {
    bool is_sent;
    char *address;
    size_t bytes;
    int peer;
    Communicator *communicator;
    Stream *stream;
};

thread_local std::vector<Message> group;
thread_local bool is_in_group;

size_t size_of(int type) {
    if (type != UINT8 && type != FLOAT32) refuse("NCCL's type %d", type);
    return type == UINT8 ? 1 : 4;
}

int add(const Message &message) {
    if (!is_in_group) refuse("NCCL: a message outside of a group");
    group.push_back(message);
    return SUCCESS;
}

} // namespace

extern "C" {

int ncclGetUniqueId(Id *id) {
    std::random_device random;
    memset(id, 0, sizeof *id);
    snprintf(id->bytes, ID, "nccl-%08x%08x", random(), random());
    return SUCCESS;
}

int ncclCommInitRank(Communicator **communicator, int processes, Id id, int rank) {
    if (rank < 0 || rank >= processes) return INVALID_ARGUMENT;
    *communicator = new Communicator;
    (*communicator)->path = cache() / id.bytes;
    (*communicator)->processes = processes;
    (*communicator)->rank = rank;
    return SUCCESS;
}

// It is not freed, for work that is still queued, and its last files stay, for the others to read.
int ncclCommAbort(Communicator *communicator) {
    communicator->is_aborted = true;
    return SUCCESS;
}

int ncclAllGather(const void *own, void *all, size_t count, int type, Communicator *communicator,
                  Stream *stream) {
    size_t bytes = count * size_of(type);
    queue(stream, [=] {
        std::vector<char> sent((const char *)own, (const char *)own + bytes);
        uint64_t operation = communicator->publish(sent);
        for (int of = 0; of < communicator->processes; of++)
            communicator->read(operation, of, 0, (char *)all + of * bytes, bytes);
    });
    return SUCCESS;
}

int ncclSend(const void *from, size_t count, int type, int peer, Communicator *communicator,
             Stream *stream) {
    return add({true, (char *)from, count * size_of(type), peer, communicator, stream});
}
int ncclRecv(void *to, size_t count, int type, int peer, Communicator *communicator,
             Stream *stream) {
    return add({false, (char *)to, count * size_of(type), peer, communicator, stream});
}

int ncclGroupStart(void) {
    is_in_group = true;
    return SUCCESS;
}

// Messages of equal lengths, one to and one from each process.
int ncclGroupEnd(void) {
    std::vector<Message> messages;
    messages.swap(group);
    is_in_group = false;
    if (messages.empty()) return SUCCESS;
    Communicator *communicator = messages[0].communicator;
    size_t bytes = messages[0].bytes;
    int counts[2] = {0, 0};
    for (const Message &message : messages) {
        counts[message.is_sent]++;
        if (message.bytes != bytes || message.communicator != communicator)
            refuse("NCCL: a group of unlike messages");
    }
    if (counts[0] != communicator->processes || counts[1] != communicator->processes)
        refuse("NCCL: a group that is no exchange");
    queue(messages[0].stream, [=] {
        std::vector<char> sent(bytes * communicator->processes);
        for (const Message &message : messages)
            if (message.is_sent) memcpy(sent.data() + message.peer * bytes, message.address, bytes);
        uint64_t operation = communicator->publish(sent);
        for (const Message &message : messages)
            if (!message.is_sent)
                communicator->read(operation, message.peer, communicator->rank * bytes,
                                   message.address, bytes);
    });
    return SUCCESS;
}

const char *ncclGetErrorString(int error) { return error == SUCCESS ? "success" : "refused"; }

} // extern "C"
