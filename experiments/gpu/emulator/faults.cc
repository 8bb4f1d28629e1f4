// Accesses of memory that end a program on a GPU: misaligned ones, and those outside of what is
// allocated. The compiler has kernels stop at the first kind (-fsanitize=alignment), and pages
// around each allocation at the second.

#include <csignal>
#include <cstdio>
#include <mutex>

#include <unistd.h>

#include "driver.h"

thread_local const char *in_progress = nullptr;

static struct sigaction former[NSIG];

static void report(int signal) {
    if (!in_progress) {
        // Not ours: the former handler gets it when the instruction is repeated.
        sigaction(signal, &former[signal], nullptr);
        return;
    }
    const char *what = signal == SIGILL ? "a misaligned access" : "an access of no allocated memory";
    dprintf(STDERR_FILENO, "emulator: %s: %s\n", in_progress, what);
    _exit(70);
}

void report_faults() {
    static std::once_flag done;
    std::call_once(done, [] {
        struct sigaction action = {};
        action.sa_handler = report;
        for (int signal : {SIGILL, SIGSEGV, SIGBUS}) sigaction(signal, &action, &former[signal]);
    });
}
