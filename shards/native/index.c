/* The index of a shard, checked and packed in passes over its file: what `join`, `check_index` and `page_of` of
 * `shards/reading` do, array by array, to the same page. And the names in a list of shards.
 *
 * Owns the numbers alone. That every array lies in the file, is of its type and as long as it should be, Python has seen.
 * Whatever else is not as it should be is no index here: Python looks once more, in its own way, and says what it is.
 * Memory is little: columns are made one at a time, and those that a table keeps are made once more when there is one.
 */
#include <stdint.h>
#include <string.h>

/* Of a field: where its arrays are in the file, and what the schema says of it. */
struct field {
    int64_t offset, length, rows, shape, hash, n_hashes;
    int64_t n_sides, itemsize; /* bytes of a number; 0 where it is no array */
    int64_t axis;              /* the first field of its axis, -1 where it has none */
};

struct head {
    int64_t records, runs, key_bytes, tar_bytes, n_fields;
    int64_t item_axis;                 /* the field whose rows the runs are of */
    int64_t keys, key_ends, run_table; /* where in the file */
    struct field fields[];
};

/* What a table says of its columns; base, step and the numbers of those that vary, `width` of each, lie behind it. */
struct said {
    int64_t n_varying, largest, numbers[];
};

enum { OF_RECORD = 4, OF_FIELD = 4, OF_RUN = 5 }; /* columns: of a record, of each of its fields beside sides, of a run */

/* Numbers lie where this machine reads them. */
static int is_aligned(const uint8_t *file, const struct head *head) {
    uint64_t of_8 = (uintptr_t)file | (uint64_t)head->key_ends, of_4 = (uint64_t)head->run_table;
    for (const struct field *field = head->fields; field < head->fields + head->n_fields; field++) {
        of_8 |= (uint64_t)(field->offset | field->length | field->hash);
        of_4 |= (uint64_t)(field->rows | field->shape);
    }
    return !(of_8 & 7) && !(of_4 & 3);
}

/* Keys follow each other without gaps, and have visible letters. */
static int are_keys(const uint8_t *file, const struct head *head) {
    const uint8_t *keys = file + head->keys;
    const uint64_t *ends = (const uint64_t *)(file + head->key_ends);
    uint64_t before = 0, wrong = 0;
    unsigned letters = 0;
    for (int64_t record = 0; record < head->records; record++) {
        wrong |= ends[record] <= before;
        before = ends[record];
    }
    for (int64_t place = 0; place < head->key_bytes; place++) letters |= (uint8_t)(keys[place] - '!') > '~' - '!';
    return !wrong && !letters && before == (uint64_t)head->key_bytes;
}

/* Runs are of records that are there, in order, and of rows that these have. `first_run` [records + 1] becomes the number
 * of runs before each record. */
static int are_runs(const uint8_t *file, const struct head *head, int64_t *first_run) {
    const uint32_t *runs = (const uint32_t *)(file + head->run_table);
    const uint32_t *rows = (const uint32_t *)(file + head->fields[head->item_axis].rows);
    uint32_t before = 0;
    memset(first_run, 0, (size_t)(head->records + 1) * sizeof *first_run);
    for (int64_t run = 0; run < head->runs; run++, runs += 3) {
        if (runs[0] < before || runs[0] >= head->records || !runs[2] || (uint64_t)runs[1] + runs[2] > rows[runs[0]]) return 0;
        before = runs[0];
        first_run[before + 1]++;
    }
    for (int64_t record = 0; record < head->records; record++) first_run[record + 1] += first_run[record];
    return 1;
}

/* Bytes lie in the tar; there are as many rows as the axis has, and hashes as rows. */
static int is_placed(const uint8_t *file, const struct head *head, const struct field *field) {
    const uint64_t *offset = (const uint64_t *)(file + field->offset), *length = (const uint64_t *)(file + field->length);
    const uint32_t *rows = (const uint32_t *)(file + field->rows);
    const uint32_t *of_axis = field->axis < 0 ? NULL : (const uint32_t *)(file + head->fields[field->axis].rows);
    uint64_t end = (uint64_t)head->tar_bytes, n_hashes = 0;
    int wrong = 0;
    for (int64_t record = 0; record < head->records; record++) {
        wrong |= offset[record] > end || length[record] > end - offset[record];
        wrong |= rows[record] != (of_axis ? of_axis[record] : 1);
        n_hashes += rows[record];
    }
    return !wrong && n_hashes == (uint64_t)field->n_hashes;
}

/* Shapes are the schema's (-1: any side), and rows and bytes are the shapes'. */
static int is_shaped(const uint8_t *file, const struct head *head, const struct field *field, const int64_t *sides) {
    const uint64_t *length = (const uint64_t *)(file + field->length);
    const uint32_t *rows = (const uint32_t *)(file + field->rows), *shape = (const uint32_t *)(file + field->shape);
    int wrong = 0;
    for (int64_t record = 0; record < head->records; record++, shape += field->n_sides) {
        uint64_t n_bytes = (uint64_t)field->itemsize;
        for (int64_t side = 0; side < field->n_sides; side++) {
            wrong |= sides[side] >= 0 && shape[side] != (uint64_t)sides[side];
            wrong |= __builtin_mul_overflow(n_bytes, (uint64_t)shape[side], &n_bytes);
        }
        wrong |= n_bytes != length[record] || (field->axis >= 0 && shape[0] != rows[record]);
    }
    return !wrong;
}

static void widen(int64_t *values, int64_t count, const uint32_t *from, int64_t stride) {
    for (int64_t row = 0; row < count; row++) values[row] = from[row * stride];
}

/* A column of the records' table. */
static void of_records(const uint8_t *file, const struct head *head, const int64_t *first_run, int64_t column, int64_t *values) {
    const uint64_t *key_ends = (const uint64_t *)(file + head->key_ends);
    const struct field *field = head->fields;
    int64_t count = head->records, before = 0;
    if (column < OF_RECORD) {
        for (int64_t record = 0; record < count; record++) {
            int64_t key_start = record ? (int64_t)key_ends[record - 1] : 0;
            values[record] = column == 0   ? first_run[record]
                             : column == 1 ? first_run[record + 1] - first_run[record]
                             : column == 2 ? key_start
                                           : (int64_t)key_ends[record] - key_start;
        }
        return;
    }
    for (column -= OF_RECORD; column >= OF_FIELD + field->n_sides; field++) {
        column -= OF_FIELD + field->n_sides;
        before += field->n_hashes;
    }
    const uint32_t *rows = (const uint32_t *)(file + field->rows);
    if (column == 0) memcpy(values, file + field->offset, (size_t)count * sizeof *values);
    else if (column == 1) memcpy(values, file + field->length, (size_t)count * sizeof *values);
    else if (column == 2) widen(values, count, rows, 1);
    else if (column >= OF_FIELD)
        widen(values, count, (const uint32_t *)(file + field->shape) + column - OF_FIELD, field->n_sides);
    else
        for (int64_t record = 0; record < count; record++) {
            values[record] = before;
            before += rows[record];
        }
}

/* A column of the runs' table. */
static void of_runs(const uint8_t *file, const struct head *head, const int64_t *first_run, int64_t column, int64_t *values) {
    const uint32_t *runs = (const uint32_t *)(file + head->run_table);
    int64_t sum = 0;
    if (column == 0) widen(values, head->runs, runs, 3);
    else if (column == 1)
        for (int64_t run = 0; run < head->runs; run++) values[run] = run - first_run[runs[3 * run]];
    else if (column < 4) widen(values, head->runs, runs + column - 1, 3);
    else
        for (int64_t run = 0; run < head->runs; run++) values[run] = sum += runs[3 * run + 2];
}

static void fill(const uint8_t *file, const struct head *head, const int64_t *first_run, int is_of_runs, int64_t column,
                 int64_t *values) {
    (is_of_runs ? of_runs : of_records)(file, head, first_run, column, values);
}

/* Which columns grow by the same step from row to row, from what on, and which vary. */
static void say(const uint8_t *file, const struct head *head, const int64_t *first_run, int is_of_runs, int64_t width,
                int64_t *values, struct said *said) {
    int64_t count = is_of_runs ? head->runs : head->records;
    said->n_varying = said->largest = 0;
    for (int64_t column = 0; column < width; column++) {
        fill(file, head, first_run, is_of_runs, column, values);
        uint64_t base = (uint64_t)values[0], step = count > 1 ? (uint64_t)values[1] - base : 0, next = base, unlike = 0;
        for (int64_t row = 0; row < count; row++, next += step) unlike |= (uint64_t)values[row] ^ next;
        said->numbers[column] = (int64_t)base;
        said->numbers[width + column] = (int64_t)step;
        if (!unlike) continue;
        said->numbers[2 * width + said->n_varying++] = column;
        for (int64_t row = 0; row < count; row++)
            if (values[row] > said->largest) said->largest = values[row];
    }
}

/* Whether everything is as it should be. Then the tables' `said`, the hashes of all fields and `first_run` are filled;
 * `values` has room for a column. */
int pack_index(const uint8_t *file, const struct head *head, const int64_t *sides, int64_t width, int64_t *first_run,
               int64_t *values, struct said *of_record, struct said *of_run, uint64_t *hashes) {
    if (!is_aligned(file, head) || !are_keys(file, head) || !are_runs(file, head, first_run)) return 0;
    for (const struct field *field = head->fields; field < head->fields + head->n_fields; sides += field++->n_sides) {
        if (!is_placed(file, head, field) || (field->itemsize && !is_shaped(file, head, field, sides))) return 0;
        memcpy(hashes, file + field->hash, (size_t)field->n_hashes * sizeof *hashes);
        hashes += field->n_hashes;
    }
    say(file, head, first_run, 0, width, values, of_record);
    say(file, head, first_run, 1, OF_RUN, values, of_run);
    return 1;
}

/* The table [rows, varying columns] of a page, of 32 bits if narrow. */
void write_table(const uint8_t *file, const struct head *head, const int64_t *first_run, int is_of_runs, int64_t width,
                 int64_t *values, const struct said *said, int narrow, void *table) {
    int64_t count = is_of_runs ? head->runs : head->records, n_columns = said->n_varying;
    for (int64_t column = 0; column < n_columns; column++) {
        uint32_t *small = (uint32_t *)table + column;
        int64_t *large = (int64_t *)table + column;
        fill(file, head, first_run, is_of_runs, said->numbers[2 * width + column], values);
        if (narrow)
            for (int64_t row = 0; row < count; row++) small[row * n_columns] = (uint32_t)values[row];
        else
            for (int64_t row = 0; row < count; row++) large[row * n_columns] = values[row];
    }
}

/* Whether rows of a list begin with names, filled up with zeros, that `check_key` of schema.py takes, and that ascend, so
 * no two are the same. Others may be right as well. */
int are_names(int64_t count, const uint8_t *rows, int64_t step, int64_t width) {
    for (int64_t row = 0; row < count; row++, rows += step) {
        int64_t length = 0;
        for (; length < width && rows[length]; length++) {
            uint8_t sign = rows[length];
            if (sign < '!' || sign > '~' || sign == '.' || sign == '/' || sign == '\\') return 0;
        }
        for (int64_t place = length; place < width; place++)
            if (rows[place]) return 0;
        if (!length || (length > 1 && rows[0] == '_' && rows[1] == '_')) return 0;
        if (row && memcmp(rows - step, rows, (size_t)width) >= 0) return 0;
    }
    return 1;
}
