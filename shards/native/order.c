/* The bijection of `shards/reading/permutation.py`, number by number: the same integers, without a dozen arrays between.
 * What it is, and why, that file says. */
#include <math.h>
#include <stdint.h>

#define ROUNDS 4
#define GOLDEN 0x9E3779B97F4A7C15u

static uint64_t mix(uint64_t value) {
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9u;
    value = (value ^ value >> 27) * 0x94D049BB133111EBu;
    return value ^ value >> 31;
}

static uint64_t feistel(uint64_t value, int bits, uint64_t key) {
    int low_bits = bits / 2;
    uint64_t low_mask = ((uint64_t)1 << low_bits) - 1, high_mask = ((uint64_t)1 << (bits - low_bits)) - 1;
    uint64_t mask = ((uint64_t)1 << bits) - 1;
    for (int round = 0; round < ROUNDS; round++) {
        key = mix(key + GOLDEN);
        uint64_t low = value & low_mask, high = value >> low_bits;
        high ^= mix(low ^ key) & high_mask;
        low ^= mix(high + key) & low_mask;
        value = ((high << low_bits | low) + (key >> 32)) & mask;
    }
    return value;
}

/* places[i] becomes where the permutation of 0 .. sizes[i] - 1 that keys[i] chooses takes it. */
void permute(int64_t count, int64_t *places, const int64_t *sizes, const uint64_t *keys) {
    for (int64_t number = 0; number < count; number++) {
        uint64_t size = (uint64_t)sizes[number], value = (uint64_t)places[number];
        int bits; /* by way of a double, as there: it rounds where a size is beyond 2^53 */
        frexp((double)(size - 1), &bits);
        do value = feistel(value, bits, keys[number]);
        while (value >= size);
        places[number] = (int64_t)value;
    }
}
