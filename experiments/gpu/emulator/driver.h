// What the parts of the emulator share.

#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>

struct Stream;

// Runs `work` on a stream, later, after everything that was queued there before.
void queue(Stream *stream, std::function<void()> work);

// Ends the program: what it asked for cannot be computed.
[[noreturn]] void refuse(const char *format, ...);

// The folder for compiled kernels and for what processes send each other: that of the environment
// variable EMULATOR_CACHE, or one in the user's cache.
std::filesystem::path cache();

// What the stream of this thread computes, for a report of where it goes wrong.
extern thread_local const char *in_progress;

// From now on a stream that accesses memory as a GPU may not ends the program with a report.
void report_faults();
