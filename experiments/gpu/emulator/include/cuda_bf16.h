// The bf16 of CUDA's header of this name: a float's upper half, rounded to nearest even.

#pragma once
#include <cstring>

struct __nv_bfloat16 {
    unsigned short bits;

    __nv_bfloat16() = default;
    __nv_bfloat16(float x) {
        unsigned word;
        memcpy(&word, &x, 4);
        bits = x == x ? (word + 0x7fff + (word >> 16 & 1)) >> 16 : 0x7fff;
    }
    operator float() const {
        unsigned word = (unsigned)bits << 16;
        float x;
        memcpy(&x, &word, 4);
        return x;
    }
};

// As on a GPU each operation is rounded.
inline __nv_bfloat16 operator+(__nv_bfloat16 a, __nv_bfloat16 b) {
    return __nv_bfloat16((float)a + (float)b);
}
inline __nv_bfloat16 operator-(__nv_bfloat16 a, __nv_bfloat16 b) {
    return __nv_bfloat16((float)a - (float)b);
}
inline __nv_bfloat16 operator*(__nv_bfloat16 a, __nv_bfloat16 b) {
    return __nv_bfloat16((float)a * (float)b);
}
inline __nv_bfloat16 operator/(__nv_bfloat16 a, __nv_bfloat16 b) {
    return __nv_bfloat16((float)a / (float)b);
}
inline __nv_bfloat16 operator-(__nv_bfloat16 a) { return __nv_bfloat16(-(float)a); }
