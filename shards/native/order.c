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

static int64_t permuted(int64_t place, int64_t size, uint64_t key) {
    uint64_t value = (uint64_t)place, keys[ROUNDS];
    int bits; /* by way of a double, as there: it rounds where a size is beyond 2^53 */
    frexp((double)((uint64_t)size - 1), &bits);
    set_keys(keys, key);
    do value = feistel(value, bits, keys);
    while (value >= (uint64_t)size);
    return (int64_t)value;
}

#define TOGETHER 64 /* numbers that are walked side by side, by instructions of many numbers where there are such */

/* One step of numbers that are walked alike. */
static inline __attribute__((always_inline)) void step_all(uint64_t *restrict values, int count, int bits, const uint64_t *keys) {
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t key = keys[round], mask = ((uint64_t)1 << bits) - 1, low_mask = ((uint64_t)1 << bits / 2) - 1;
        for (int place = 0; place < count; place++) {
            uint64_t low = values[place] & low_mask, high = values[place] >> bits / 2;
            high ^= mix(low ^ key) & mask >> bits / 2;
            low ^= mix(high + key) & low_mask;
            values[place] = ((high << bits / 2 | low) + (key >> 32)) & mask;
        }
    }
}

static void step(uint64_t *values, int count, int bits, const uint64_t *keys) { step_all(values, count, bits, keys); }

#if defined(__x86_64__)
__attribute__((target("avx512f,avx512dq"))) static void step_wide(uint64_t *values, int count, int bits, const uint64_t *keys) {
    step_all(values, count, bits, keys);
}
#endif

static void walk_together(int64_t count, int64_t *places, uint64_t size, uint64_t key) {
    uint64_t keys[ROUNDS], values[TOGETHER];
    int bits, todo[TOGETHER];
    void (*take)(uint64_t *, int, int, const uint64_t *) = step;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) take = step_wide;
#endif
    set_keys(keys, key);
    frexp((double)(size - 1), &bits);
    for (int64_t start = 0; start < count; start += TOGETHER) {
        int left = count - start < TOGETHER ? (int)(count - start) : TOGETHER;
        for (int number = 0; number < left; number++) {
            values[number] = (uint64_t)places[start + number];
            todo[number] = number;
        }
        while (left) { /* those that landed outside go on */
            int outside = 0;
            take(values, left, bits, keys);
            for (int number = 0; number < left; number++) {
                places[start + todo[number]] = (int64_t)values[number];
                todo[outside] = todo[number];
                values[outside] = values[number];
                outside += values[number] >= size;
            }
            left = outside;
        }
    }
}

/* places[i] becomes where the permutation of 0 .. size - 1 that a key chooses takes it. Sizes and keys are of each, or, with
 * a step of 0, one for all. */
void permute(int64_t count, int64_t *places, const int64_t *sizes, int64_t size_step, const uint64_t *keys, int64_t key_step) {
    if (!size_step && !key_step && count) {
        walk_together(count, places, (uint64_t)sizes[0], keys[0]);
        return;
    }
    for (int64_t number = 0; number < count; number++)
        places[number] = permuted(places[number], sizes[number * size_step], keys[number * key_step]);
}

static int64_t number_at(const char *numbers, int64_t step, int64_t place) {
    int64_t found;
    memcpy(&found, numbers + step * place, sizeof found);
    return found;
}

#define MOST_PIECES 32 /* of windows whose remainders are looked up */

/* Adds what pieces of a shard have beside items / window, where more = items % window: the whole part of
 * more * (piece + 1) / window, less that of the piece before. */
static void add_carried(int64_t more, int64_t window, int64_t *pieces) {
    int64_t over = 0;
    for (int64_t piece = 0; piece < window; piece++) {
        over += more;
        int64_t carried = over >= window;
        over -= carried * window;
        pieces[piece] += carried;
    }
}

/* ends [count + window - 1]: running size of the phases of an epoch in which shards enter in this order; the items of one
 * shard lie `step` bytes behind those of the one before. */
void phase_ends(int64_t count, int64_t window, const char *counts, int64_t step, const int64_t *order, int64_t *ends) {
    int64_t sum = 0, carried[MOST_PIECES * MOST_PIECES];
    int is_known = window <= MOST_PIECES;
    for (int64_t phase = 0; phase < count + window - 1; phase++) ends[phase] = 0;
    if (is_known) memset(carried, 0, sizeof carried);
    for (int64_t more = 0; is_known && more < window; more++) add_carried(more, window, carried + more * window);
    for (int64_t entered = 0; entered < count; entered++) {
        int64_t items = number_at(counts, step, order[entered]), each = items / window, more = items % window;
        int64_t *restrict pieces = ends + entered;
        const int64_t *known = carried + more * window;
        if (is_known)
            for (int64_t piece = 0; piece < window; piece++) pieces[piece] += each + known[piece];
        else {
            for (int64_t piece = 0; piece < window; piece++) pieces[piece] += each;
            add_carried(more, window, pieces);
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
