/* Rows of 16-bit pixels, high bytes first, to floats by one pass: what `shards/geometry/quick_cut.py` does in four. Owns
 * the arithmetic alone; which rows and columns there are, Python has checked. Divided and not multiplied: the same bits.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline __attribute__((always_inline)) void cut(int64_t n_rows, int64_t n_columns, const int64_t *rows,
                                                      const int64_t *columns, int flip, float divisor, uint8_t *out,
                                                      int64_t out_stride) {
    for (int64_t row = 0; row < n_rows; row++) {
        const uint8_t *from = (const uint8_t *)(intptr_t)rows[row];
        float *to = (float *)(out + row * out_stride);
        for (int64_t column = 0; column < n_columns; column++) {
            uint16_t pixel;
            memcpy(&pixel, from + 2 * (columns ? columns[column] : column), sizeof pixel);
            to[flip ? n_columns - 1 - column : column] = (float)__builtin_bswap16(pixel) / divisor;
        }
    }
}

#define EACH_WAY                                                                                        \
    if (columns) cut(n_rows, n_columns, rows, columns, flip, divisor, out, out_stride);                 \
    else if (flip) cut(n_rows, n_columns, rows, NULL, 1, divisor, out, out_stride);                     \
    else cut(n_rows, n_columns, rows, NULL, 0, divisor, out, out_stride);

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void cut_wide(int64_t n_rows, int64_t n_columns, const int64_t *rows,
                                                     const int64_t *columns, int flip, float divisor, uint8_t *out,
                                                     int64_t out_stride) {
    EACH_WAY
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
    EACH_WAY
}
