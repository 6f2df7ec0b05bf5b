/* Rows of 16-bit pixels, high bytes first, to floats by one pass: what `shards/geometry/quick_cut.py` does in four. Owns
 * the arithmetic alone; which rows and columns there are, Python has checked. Divided and not multiplied: the same bits.
 */
#include <stddef.h>
#include <stdint.h>

typedef uint16_t pixel __attribute__((aligned(1), may_alias));

static inline __attribute__((always_inline)) float metres(uint16_t stored, float divisor) {
    return (float)(int32_t)(uint16_t)(stored << 8 | stored >> 8) / divisor;
}

static inline __attribute__((always_inline)) void cut(int64_t n_rows, int64_t n_columns, const int64_t *rows,
                                                      const int64_t *columns, int flip, float divisor, uint8_t *out,
                                                      int64_t out_stride) {
    for (int64_t row = 0; row < n_rows; row++) {
        const pixel *restrict from = (const pixel *)(intptr_t)rows[row];
        float *restrict to = (float *)(out + row * out_stride);
        if (columns)
            for (int64_t column = 0; column < n_columns; column++)
                to[flip ? n_columns - 1 - column : column] = metres(from[columns[column]], divisor);
        else if (flip)
            for (int64_t column = 0; column < n_columns; column++)
                to[column] = metres(from[n_columns - 1 - column], divisor);
        else
            for (int64_t column = 0; column < n_columns; column++) to[column] = metres(from[column], divisor);
    }
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void cut_wide(int64_t n_rows, int64_t n_columns, const int64_t *rows,
                                                     const int64_t *columns, int flip, float divisor, uint8_t *out,
                                                     int64_t out_stride) {
    cut(n_rows, n_columns, rows, columns, flip, divisor, out, out_stride);
}
#endif

/* `rows`: addresses of the first pixel of each row that is shown; `columns`: numbers of pixels from there, 0 for one
 * after the other. */
void cut_quotients(int64_t n_rows, int64_t n_columns, const int64_t *rows, const int64_t *columns, int flip, float divisor,
                   uint8_t *out, int64_t out_stride) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) {
        cut_wide(n_rows, n_columns, rows, columns, flip, divisor, out, out_stride);
        return;
    }
#endif
    cut(n_rows, n_columns, rows, columns, flip, divisor, out, out_stride);
}
