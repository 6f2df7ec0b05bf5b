/* The bijection of `shards/reading/permutation.py`, and the phases of `shards/reading/window.py`: the same integers, without
 * a dozen arrays between. What they are, and why, these files say. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#define ROUNDS 4
#define GOLDEN 0x9E3779B97F4A7C15u

static uint64_t mix(uint64_t value) {
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9u;
    value = (value ^ value >> 27) * 0x94D049BB133111EBu;
    return value ^ value >> 31;
}

/* The keys of its rounds are the same for every step of a walk. */
static uint64_t feistel(uint64_t value, int bits, const uint64_t *keys) {
    int low_bits = bits / 2;
    uint64_t low_mask = ((uint64_t)1 << low_bits) - 1, high_mask = ((uint64_t)1 << (bits - low_bits)) - 1;
    uint64_t mask = ((uint64_t)1 << bits) - 1;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t low = value & low_mask, high = value >> low_bits;
        high ^= mix(low ^ keys[round]) & high_mask;
        low ^= mix(high + keys[round]) & low_mask;
        value = ((high << low_bits | low) + (keys[round] >> 32)) & mask;
    }
    return value;
}

static void set_keys(uint64_t *keys, uint64_t key) {
    for (int round = 0; round < ROUNDS; round++) keys[round] = key = mix(key + GOLDEN);
}

static int64_t walked(int64_t place, int64_t size, const uint64_t *keys) {
    uint64_t value = (uint64_t)place;
    int bits; /* by way of a double, as there: it rounds where a size is beyond 2^53 */
    frexp((double)((uint64_t)size - 1), &bits);
    do value = feistel(value, bits, keys);
    while (value >= (uint64_t)size);
    return (int64_t)value;
}

static int64_t permuted(int64_t place, int64_t size, uint64_t key) {
    uint64_t keys[ROUNDS];
    set_keys(keys, key);
    return walked(place, size, keys);
}

/* places[i] becomes where the permutation of 0 .. size - 1 that a key chooses takes it. Sizes and keys are of each, or, with
 * a step of 0, one for all. */
void permute(int64_t count, int64_t *places, const int64_t *sizes, int64_t size_step, const uint64_t *keys, int64_t key_step) {
    uint64_t of_all[ROUNDS];
    if (count) set_keys(of_all, keys[0]);
    for (int64_t number = 0; number < count; number++) {
        int64_t size = sizes[number * size_step];
        places[number] =
            key_step ? permuted(places[number], size, keys[number * key_step]) : walked(places[number], size, of_all);
    }
}

static int64_t number_at(const char *numbers, int64_t step, int64_t place) {
    int64_t found;
    memcpy(&found, numbers + step * place, sizeof found);
    return found;
}

/* ends [count + window - 1]: running size of the phases of an epoch in which shards enter in this order; the items of one
 * shard lie `step` bytes behind those of the one before. */
void phase_ends(int64_t count, int64_t window, const char *counts, int64_t step, const int64_t *order, int64_t *ends) {
    int64_t sum = 0;
    for (int64_t phase = 0; phase < count + window - 1; phase++) ends[phase] = 0;
    for (int64_t entered = 0; entered < count; entered++) {
        int64_t items = number_at(counts, step, order[entered]), over = 0;
        int64_t each = items / window, more = items % window;
        for (int64_t piece = 0; piece < window; piece++) { /* the whole part of items * (piece + 1) / window, less the last */
            over += more;
            int64_t carried = over >= window;
            over -= carried * window;
            ends[entered + piece] += each + carried;
        }
    }
    for (int64_t phase = 0; phase < count + window - 1; phase++) ends[phase] = sum += ends[phase];
}

/* Of an epoch, as `_Epoch` of window.py has it: S shards, whose items lie `step` bytes apart. */
struct epoch {
    int64_t n_shards, window;
    const char *counts;
    int64_t step;
    const int64_t *item_ends, *order, *phase_ends; /* [S], [S], [S + window - 1] */
    uint64_t of_phase, of_piece;                   /* keys, but for the number of the phase, and of the shard */
};

static uint64_t keyed(uint64_t key, int64_t part) { return mix(key ^ ((uint64_t)part * GOLDEN + 0x94D049BB133111EBu)); }

/* places[i], within the epoch, becomes the number of its item. */
void window_items(int64_t count, int64_t *places, const struct epoch *epoch) {
    int64_t n_phases = epoch->n_shards + epoch->window - 1;
    for (int64_t number = 0; number < count; number++) {
        int64_t place = places[number], phase = 0, after = n_phases;
        while (phase < after) { /* the first that ends behind the place */
            int64_t middle = phase + (after - phase) / 2;
            if (epoch->phase_ends[middle] > place) after = middle;
            else phase = middle + 1;
        }
        int64_t start = phase ? epoch->phase_ends[phase - 1] : 0;
        place = permuted(place - start, epoch->phase_ends[phase] - start, keyed(epoch->of_phase, phase));
        int64_t piece = phase < epoch->n_shards ? 0 : phase - epoch->n_shards + 1, shard, items, before;
        for (;; piece++) { /* one of them holds the place: they have as many items as the phase */
            shard = epoch->order[phase - piece];
            items = number_at(epoch->counts, epoch->step, shard);
            before = items * piece / epoch->window;
            int64_t size = items * (piece + 1) / epoch->window - before;
            if (place < size) break;
            place -= size;
        }
        place = permuted(before + place, items, keyed(epoch->of_piece, shard));
        places[number] = epoch->item_ends[shard] - items + place;
    }
}
