/* XXH3 of 64 bits, seed 0 and the default secret, while copying: written from the specification of xxHash, which its
 * public repository https://github.com/Cyan4973/xxHash has in its folder doc; compared with the xxhash package by
 * tests/shards/native.
 *
 * Owns the arithmetic. Every byte of a source is read once, and what is hashed is what was stored: a file that changes
 * while it is copied cannot pass for what it was.
 */
#ifndef XXH3_H
#define XXH3_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__ || !defined(__SIZEOF_INT128__)
#error "made for 64-bit machines with low bytes first; Python reads without it"
#endif

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define STRIPE 64                /* bytes taken in at once */
#define STRIPES_A_BLOCK 16       /* (192 - 64) / 8: the secret moves on by 8 bytes a stripe */
#define AHEAD 1024               /* bytes asked for before they are needed; also over the end of a page */

static const uint64_t P32_1 = 0x9E3779B1u;
static const uint64_t P64_1 = 0x9E3779B185EBCA87u, P64_2 = 0xC2B2AE3D27D4EB4Fu, P64_3 = 0x165667B19E3779F9u;
static const uint64_t MX_1 = 0x165667919E3779F9u, MX_2 = 0x9FB21C651E98DF25u;

static const uint8_t SECRET[192] __attribute__((aligned(64))) = {
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c, 0xde, 0xd4, 0x6d, 0xe9,
    0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f, 0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78,
    0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21, 0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6,
    0x81, 0x3a, 0x26, 0x4c, 0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
    0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8, 0xa8, 0xfa, 0x76, 0x3f,
    0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d, 0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31,
    0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64, 0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff,
    0xfa, 0x13, 0x63, 0xeb, 0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
    0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce, 0x45, 0xcb, 0x3a, 0x8f,
    0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
};

static inline uint64_t word(const uint8_t *at) {
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static inline uint32_t half_word(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

/* What lies where it belongs is left there: hashing alone is copying onto itself. */
static inline void put(uint8_t *to, const uint8_t *from, size_t length) {
    if (to != from) memcpy(to, from, length);
}

static inline uint64_t rotated(uint64_t value, int by) { return value << by | value >> (64 - by); }

/* Both halves of the product of 128 bits, folded into one. */
static inline uint64_t folded(uint64_t one, uint64_t other) {
    unsigned __int128 product = (unsigned __int128)one * other;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t avalanche(uint64_t x) {
    x = (x ^ x >> 37) * MX_1;
    return x ^ x >> 32;
}

static inline uint64_t avalanche_small(uint64_t x) {
    x = (x ^ x >> 33) * P64_2;
    x = (x ^ x >> 29) * P64_3;
    return x ^ x >> 32;
}

static inline uint64_t mixed(const uint8_t *data, size_t secret) {
    return folded(word(data) ^ word(SECRET + secret), word(data + 8) ^ word(SECRET + secret + 8));
}

/* Of at most 240 bytes. */
static uint64_t hash_short(const uint8_t *data, size_t length) {
    if (length == 0) return avalanche_small(word(SECRET + 56) ^ word(SECRET + 64));
    if (length < 4) {
        uint32_t all = data[length - 1] | (uint32_t)length << 8 | (uint32_t)data[0] << 16 | (uint32_t)data[length >> 1] << 24;
        return avalanche_small((uint64_t)(half_word(SECRET) ^ half_word(SECRET + 4)) ^ all);
    }
    if (length <= 8) {
        uint64_t both = half_word(data + length - 4) | (uint64_t)half_word(data) << 32;
        uint64_t x = (word(SECRET + 8) ^ word(SECRET + 16)) ^ both;
        x = (x ^ rotated(x, 49) ^ rotated(x, 24)) * MX_2;
        x = (x ^ ((x >> 35) + length)) * MX_2;
        return x ^ x >> 28;
    }
    if (length <= 16) {
        uint64_t low = word(SECRET + 24) ^ word(SECRET + 32) ^ word(data);
        uint64_t high = word(SECRET + 40) ^ word(SECRET + 48) ^ word(data + length - 8);
        return avalanche(length + __builtin_bswap64(low) + high + folded(low, high));
    }
    uint64_t sum = length * P64_1;
    if (length <= 128) {
        for (size_t round = (length - 1) / 32 + 1; round-- > 0;)
            sum += mixed(data + round * 16, round * 32) + mixed(data + length - round * 16 - 16, round * 32 + 16);
        return avalanche(sum);
    }
    for (size_t chunk = 0; chunk < 8; chunk++) sum += mixed(data + chunk * 16, chunk * 16);
    sum = avalanche(sum);
    for (size_t chunk = 8; chunk < length / 16; chunk++) sum += mixed(data + chunk * 16, chunk * 16 - 125);
    return avalanche(sum + mixed(data + length - 16, 119));
}

static uint64_t merged(const uint64_t sums[8], size_t length) {
    uint64_t result = length * P64_1;
    for (int pair = 0; pair < 8; pair += 2)
        result += folded(sums[pair] ^ word(SECRET + 11 + pair * 8), sums[pair + 1] ^ word(SECRET + 19 + pair * 8));
    return avalanche(result);
}

static const uint64_t FIRST_SUMS[8] __attribute__((aligned(64))) = {
    0xC2B2AE3Du,         0x9E3779B185EBCA87u, 0xC2B2AE3D27D4EB4Fu, 0x165667B19E3779F9u,
    0x85EBCA77C2B2AE63u, 0x85EBCA77u,         0x27D4EB2F165667C5u, 0x9E3779B1u,
};

static inline void take_in(uint64_t sums[8], const uint64_t data[8], const uint8_t *secret) {
    for (int lane = 0; lane < 8; lane++) {
        uint64_t value = data[lane] ^ word(secret + lane * 8);
        sums[lane ^ 1] += data[lane];
        sums[lane] += (value & 0xFFFFFFFFu) * (value >> 32);
    }
}

/* Copies more than 240 bytes, and hashes what it stored. The last stripe may overlap the one before it: it is read where
 * it was copied to. */
static uint64_t copy_hash_plain(uint8_t *to, const uint8_t *from, size_t length) {
    uint64_t sums[8], data[8];
    memcpy(sums, FIRST_SUMS, sizeof sums);
    size_t stripes = (length - 1) / STRIPE;
    for (size_t stripe = 0; stripe < stripes; stripe++) {
        memcpy(data, from + stripe * STRIPE, STRIPE);
        memcpy(to + stripe * STRIPE, data, STRIPE);
        take_in(sums, data, SECRET + stripe % STRIPES_A_BLOCK * 8);
        if (stripe % STRIPES_A_BLOCK == STRIPES_A_BLOCK - 1)
            for (int lane = 0; lane < 8; lane++)
                sums[lane] = (sums[lane] ^ sums[lane] >> 47 ^ word(SECRET + 128 + lane * 8)) * P32_1;
    }
    put(to + stripes * STRIPE, from + stripes * STRIPE, length - stripes * STRIPE);
    memcpy(data, to + length - STRIPE, STRIPE);
    take_in(sums, data, SECRET + 121);
    return merged(sums, length);
}

#if defined(__x86_64__)
#define AVX2 __attribute__((target("avx2")))

AVX2 static inline __m256i taken_in(__m256i sums, __m256i data, const uint8_t *secret) {
    __m256i value = _mm256_xor_si256(data, _mm256_loadu_si256((const __m256i *)secret));
    __m256i product = _mm256_mul_epu32(value, _mm256_srli_epi64(value, 32));
    return _mm256_add_epi64(_mm256_add_epi64(sums, product), _mm256_shuffle_epi32(data, 0x4E));
}

AVX2 static inline __m256i scrambled(__m256i sums, const uint8_t *secret) {
    const __m256i prime = _mm256_set1_epi64x(0x9E3779B1);
    sums = _mm256_xor_si256(sums, _mm256_srli_epi64(sums, 47));
    sums = _mm256_xor_si256(sums, _mm256_loadu_si256((const __m256i *)secret));
    __m256i high = _mm256_slli_epi64(_mm256_mul_epu32(_mm256_srli_epi64(sums, 32), prime), 32);
    return _mm256_add_epi64(_mm256_mul_epu32(sums, prime), high);
}

AVX2 static uint64_t copy_hash_avx2(uint8_t *to, const uint8_t *from, size_t length) {
    __m256i low = _mm256_load_si256((const __m256i *)FIRST_SUMS), high = _mm256_load_si256((const __m256i *)FIRST_SUMS + 1);
    size_t stripes = (length - 1) / STRIPE, stripe = 0;
    while (stripe < stripes) {
        size_t end = stripes - stripe < STRIPES_A_BLOCK ? stripes : stripe + STRIPES_A_BLOCK;
        const uint8_t *secret = SECRET;
        int whole = end - stripe == STRIPES_A_BLOCK;
        for (; stripe < end; stripe++, secret += 8) {
            const uint8_t *here = from + stripe * STRIPE;
            _mm_prefetch((const char *)here + AHEAD, _MM_HINT_T0);
            __m256i one = _mm256_loadu_si256((const __m256i *)here), two = _mm256_loadu_si256((const __m256i *)here + 1);
            _mm256_storeu_si256((__m256i *)(to + stripe * STRIPE), one);
            _mm256_storeu_si256((__m256i *)(to + stripe * STRIPE) + 1, two);
            low = taken_in(low, one, secret);
            high = taken_in(high, two, secret + 32);
        }
        if (whole) {
            low = scrambled(low, SECRET + 128);
            high = scrambled(high, SECRET + 160);
        }
    }
    put(to + stripes * STRIPE, from + stripes * STRIPE, length - stripes * STRIPE);
    const uint8_t *last = to + length - STRIPE;
    low = taken_in(low, _mm256_loadu_si256((const __m256i *)last), SECRET + 121);
    high = taken_in(high, _mm256_loadu_si256((const __m256i *)last + 1), SECRET + 153);
    uint64_t sums[8];
    _mm256_storeu_si256((__m256i *)sums, low);
    _mm256_storeu_si256((__m256i *)sums + 1, high);
    return merged(sums, length);
}

AVX2 static void copy_avx2(uint8_t *to, const uint8_t *from, size_t length) {
    size_t whole = length / STRIPE * STRIPE;
    for (size_t at = 0; at < whole; at += STRIPE) {
        _mm_prefetch((const char *)from + at + AHEAD, _MM_HINT_T0);
        __m256i one = _mm256_loadu_si256((const __m256i *)(from + at)), two = _mm256_loadu_si256((const __m256i *)(from + at) + 1);
        _mm256_storeu_si256((__m256i *)(to + at), one);
        _mm256_storeu_si256((__m256i *)(to + at) + 1, two);
    }
    memcpy(to + whole, from + whole, length - whole);
}
#endif

/* Copies, and gives the hash of what it stored. The memories are the same, or do not overlap. */
static uint64_t copy_hash(uint8_t *to, const uint8_t *from, size_t length, int wide) {
    if (length <= 240) {
        put(to, from, length);
        return hash_short(to, length);
    }
#if defined(__x86_64__)
    if (wide) return copy_hash_avx2(to, from, length);
#endif
    (void)wide;
    return copy_hash_plain(to, from, length);
}

static void copy(uint8_t *to, const uint8_t *from, size_t length, int wide) {
#if defined(__x86_64__)
    if (wide && length >= 4096) {
        copy_avx2(to, from, length);
        return;
    }
#endif
    (void)wide;
    memcpy(to, from, length);
}

static int is_wide(void) {
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx2");
#else
    return 0;
#endif
}
#endif
