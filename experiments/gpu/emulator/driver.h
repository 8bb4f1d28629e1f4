// What the parts of the emulator share: work on streams.

#pragma once
#include <cstdint>
#include <functional>

struct Stream;

// Runs `work` on a stream, later, after everything that was queued there before.
void queue(Stream *stream, std::function<void()> work);

// Ends the program: what it asked for cannot be computed.
[[noreturn]] void refuse(const char *format, ...);
