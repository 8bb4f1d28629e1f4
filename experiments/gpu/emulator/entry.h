// How the driver starts a kernel: with an array of its parameters' addresses, as CUDA does.

#pragma once
#include <cstddef>
#include <type_traits>
#include <utility>

namespace emulated {

template <auto RUN> struct Entry;
template <class... T, void (*RUN)(T...)> struct Entry<RUN> {
    static constexpr size_t sizes[] = {sizeof(T)..., 0};

    static void call(void **with) { call(with, std::index_sequence_for<T...>()); }

    template <size_t... N> static void call(void **with, std::index_sequence<N...>) {
        RUN(*(std::remove_cv_t<T> *)with[N]...);
    }
};

} // namespace emulated

// The sizes of a kernel's parameters, up to a zero, and the head of the function that runs a grid.
#define DECLARE_ENTRY(kernel)                                                                     \
    extern "C" const size_t *const sizes_##kernel = emulated::Entry<kernel>::sizes;               \
    extern "C" void start_##kernel(void **with, const unsigned *grid, const unsigned *block,      \
                                   unsigned bytes)
