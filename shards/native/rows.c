/* The rows of a batch, copied to their places and compared with the hashes of the index, by one call without Python's
 * lock.
 *
 * Owns the loop, and reading a mapped file that somebody may cut meanwhile. What is read where is planned in Python, and
 * every refusal is Python's, too: whatever is not as it should be ends the call with the number of the sample, and Python
 * reads on from there in its own way, which finds the same and says what it is.
 *
 * Mapped pages are copied at the speed of memory. Those that are not in memory are read by a call of the system, which
 * asks the disk for all of them at once. A file cut between the look and the copy is SIGBUS: it is caught as long as a
 * batch is read, in the thread and the range that are being read, and anyone else's is passed on to whoever had it before.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "xxh3.h"

#define MOST_COLUMNS 64
#define MOST_PAGES 4096     /* of one look: 16 MB of a usual machine */
#define ENOUGH 64           /* looks in a row that found all pages */
#define EVERY 8             /* then one in so many */
#define MOST_WASTE 8192     /* bytes between two parts that one call reads over */

/* Of one member of all samples; `lengths` is 0 where all have `length` bytes. */
struct column {
    const int64_t *starts, *lengths;
    const uint64_t *hashes;
    uint8_t *target; /* of the first sample; the others follow without gaps */
    int64_t length;
};

struct file {
    int64_t descriptor, address, size; /* address 0: not mapped */
};

struct part {
    int64_t start, length;
    uint8_t *target;
    uint64_t hash;
};

/* What this thread reads just now. */
static _Thread_local struct {
    sigjmp_buf back;
    volatile uintptr_t first, end;
    volatile int64_t sample;
} reading;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction before;
static int readers;
static volatile int covered;                  /* a handler was put over ours, which may pass on to us what we pass to it */
static _Thread_local volatile int passing_on;

/* What the system does where nobody asks: the fault happens again when this returns, what was sent is sent again. */
static void as_if_nobody(int number, const siginfo_t *info) {
    signal(number, SIG_DFL);
    int sent = info->si_code <= 0;
#ifdef BUS_MCEERR_AO /* Linux: told of broken memory that nobody has touched yet */
    sent |= info->si_code == BUS_MCEERR_AO;
#endif
    if (sent) raise(number);
}

static void on_fault(int number, siginfo_t *info, void *context) {
    uintptr_t at = (uintptr_t)info->si_addr;
    if (info->si_code > 0 && at >= reading.first && at < reading.end) siglongjmp(reading.back, 1);
    struct sigaction to = before; /* somebody else's, who finds us here for the next one, too */
    int with_info = to.sa_flags & SA_SIGINFO, nobody = !with_info && to.sa_handler == SIG_DFL;
    if (!with_info && to.sa_handler == SIG_IGN) {
        if (info->si_code <= 0) return;
        nobody = 1; /* a fault cannot be ignored */
    }
    if (nobody || (covered && passing_on)) {
        as_if_nobody(number, info);
        return;
    }
    if (to.sa_flags & (int)SA_RESETHAND) before = (struct sigaction){.sa_handler = SIG_DFL};
    passing_on = 1;
    if (with_info) to.sa_sigaction(number, info, context);
    else to.sa_handler(number);
    passing_on = 0;
}

static void catch_faults(void) {
    pthread_mutex_lock(&lock);
    if (readers++ == 0) {
        struct sigaction ours = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
        sigemptyset(&ours.sa_mask);
        sigaction(SIGBUS, &ours, &before);
    }
    pthread_mutex_unlock(&lock);
}

static void let_faults_go(void) {
    struct sigaction now;
    pthread_mutex_lock(&lock);
    if (--readers == 0 && sigaction(SIGBUS, NULL, &now) == 0) {
        if (now.sa_sigaction == on_fault) sigaction(SIGBUS, &before, NULL);
        else covered |= now.sa_handler != SIG_DFL && now.sa_handler != SIG_IGN;
    }
    pthread_mutex_unlock(&lock);
}

/* A process forked while others read has none of their threads. */
static void before_fork(void) { pthread_mutex_lock(&lock); }
static void after_fork(void) { pthread_mutex_unlock(&lock); }
static void in_child(void) {
    if (readers) sigaction(SIGBUS, &before, NULL);
    readers = 0;
    pthread_mutex_unlock(&lock);
}

__attribute__((constructor)) static void loaded(void) { pthread_atfork(before_fork, after_fork, in_child); }

/* The address of a file's bytes, 0 where it cannot be mapped. */
int64_t map_file(int descriptor, int64_t size) {
    void *found = size > 0 ? mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, descriptor, 0) : MAP_FAILED;
    return found == MAP_FAILED ? 0 : (int64_t)(intptr_t)found;
}

void unmap_file(int64_t address, int64_t size) { munmap((void *)(intptr_t)address, (size_t)size); }

/* Looks at every page of what is to be read, until that was there often enough to look now and then. */
static int is_in_memory(const struct file *file, int64_t start, int64_t end) {
    static _Thread_local unsigned char pages[MOST_PAGES];
    static _Thread_local unsigned looks, found;
    if (found >= ENOUGH && looks++ % EVERY) return 1;
    unsigned so_far = found;
    found = 0;
    uintptr_t size = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = ((uintptr_t)file->address + (uintptr_t)start) & ~(size - 1);
    uintptr_t length = (uintptr_t)file->address + (uintptr_t)end - first, count = (length + size - 1) / size;
    if (count > MOST_PAGES || mincore((void *)first, length, (void *)pages)) return 0;
    for (uintptr_t page = 0; page < count; page++)
        if (!(pages[page] & 1)) return 0;
    found = so_far < ENOUGH ? so_far + 1 : ENOUGH;
    return 1;
}

/* Whether all parts, which lie together, were read from the file and not from its map. */
static int read_parts(const struct file *file, const struct part *parts, int count) {
    static _Thread_local uint8_t waste[MOST_WASTE];
    struct iovec places[2 * MOST_COLUMNS];
    int64_t end = parts[0].start, expected = 0;
    int n = 0;
    for (int number = 0; number < count; number++) {
        if (parts[number].start > end) places[n++] = (struct iovec){waste, (size_t)(parts[number].start - end)};
        places[n++] = (struct iovec){parts[number].target, (size_t)parts[number].length};
        end = parts[number].start + parts[number].length;
    }
    expected = end - parts[0].start;
    ssize_t done;
    do done = preadv((int)file->descriptor, places, n, (off_t)parts[0].start);
    while (done < 0 && errno == EINTR);
    return done == expected; /* Python goes on after half of it */
}

/* Whether parts that lie together are where they belong, and are what they should be. */
static int take(const struct file *file, const struct part *parts, int count, int verify, int wide) {
    int64_t start = parts[0].start, end = parts[count - 1].start + parts[count - 1].length;
    const uint8_t *map = (const uint8_t *)(intptr_t)file->address;
    int mapped = map && is_in_memory(file, start, end);
    if (!mapped && !read_parts(file, parts, count)) return 0;
    for (int number = 0; number < count; number++) {
        const struct part *part = parts + number;
        const uint8_t *from = mapped ? map + part->start : part->target;
        if (verify) {
            if (copy_hash(part->target, from, (size_t)part->length, wide) != part->hash) return 0;
        } else if (mapped) {
            copy(part->target, from, (size_t)part->length, wide);
        }
    }
    return 1;
}

/* Reads `count` samples of `n_columns` members, in the order of the tar; files has one of each sample. Returns how many
 * samples are right, from the first on. */
int64_t read_rows(int64_t count, int64_t n_columns, const struct column *columns, const struct file *files, int verify) {
    struct part parts[MOST_COLUMNS];
    uint8_t *targets[MOST_COLUMNS];
    int wide = is_wide();
    if (n_columns < 1 || n_columns > MOST_COLUMNS) return 0;
    for (int64_t number = 0; number < n_columns; number++) targets[number] = columns[number].target;
    reading.first = reading.end = 0;
    reading.sample = 0;
    catch_faults();
    if (sigsetjmp(reading.back, 0) == 0) {
        for (int64_t sample = 0; sample < count; reading.sample = ++sample) {
            const struct file *file = files + sample;
            reading.first = (uintptr_t)file->address;
            reading.end = reading.first + (file->address ? (uintptr_t)file->size : 0);
            int right = 1, together = 0;
            int64_t end = 0;
            for (int64_t number = 0; number < n_columns && right; number++) {
                const struct column *column = columns + number;
                int64_t start = column->starts[sample];
                int64_t length = column->lengths ? column->lengths[sample] : column->length;
                if (start < 0 || length < 0 || start > file->size - length) {
                    right = 0;
                    break;
                }
                if (together && (start < end || start - end > MOST_WASTE)) {
                    right = take(file, parts, together, verify, wide);
                    together = 0;
                }
                parts[together++] = (struct part){start, length, targets[number], verify ? column->hashes[sample] : 0};
                targets[number] += length;
                end = start + length;
            }
            if (!right || (together && !take(file, parts, together, verify, wide))) break;
        }
    }
    reading.first = reading.end = 0;
    let_faults_go();
    return reading.sample;
}

/* For the tests: the hash of a copy. */
uint64_t copy_and_hash(uint8_t *to, const uint8_t *from, int64_t length, int wide) {
    return copy_hash(to, from, (size_t)length, wide && is_wide());
}
