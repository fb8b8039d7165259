/* Allocates exactly what scenarios/known.rs says, in functions that it finds by name. */
#define _GNU_SOURCE
#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define NOINLINE __attribute__((noinline))
#define F(name) JOIN(PREFIX, name)

#define CHECK(holds) \
    do { if (!(holds)) { fprintf(stderr, "known.c:%d: %s\n", __LINE__, #holds); abort(); } } while (0)

static int is_zero(const char *block, size_t bytes) {
    for (size_t n = 0; n < bytes; n++) if (block[n]) return 0;
    return 1;
}

/* 100 blocks of 100 bytes, of which 50 stay. */
NOINLINE void F(mallocs)(void) {
    for (int n = 0; n < 100; n++) {
        char *block = malloc(100);
        CHECK(block);
        memset(block, 7, 100);
        if (n % 2) free(block);
    }
}

/* 10 blocks of 77 bytes; none stays. */
NOINLINE void F(callocs)(void) {
    for (int n = 0; n < 10; n++) {
        char *block = calloc(7, 11);
        CHECK(block && is_zero(block, 77));
        memset(block, 7, 77);
        free(block);
    }
}

/* 10 + 20 + ... + 100 bytes, one life; 33 bytes, of realloc(0) and freed by it;
   and 1 MB that moves, of which 5 bytes stay. */
NOINLINE void F(reallocs)(void) {
    char *block = malloc(10);
    memset(block, 1, 10);
    for (int n = 2; n <= 10; n++) {
        block = realloc(block, 10 * n);
        CHECK(block && block[0] == 1 && block[9] == 1);
    }
    free(block);
    block = realloc(NULL, 33);
    CHECK(block && !realloc(block, 0));
    block = malloc(1000000);
    block = realloc(block, 5);
    CHECK(block);
}

/* 150, then 200 bytes. */
NOINLINE void F(reallocarrays)(void) {
    char *block = reallocarray(NULL, 3, 50);
    block = reallocarray(block, 4, 50);
    CHECK(block);
    errno = 0;
    CHECK(!reallocarray(block, SIZE_MAX / 2, 3) && errno == ENOMEM);
    free(block);
}

#define IS_AT(block, align) ((block) && (uintptr_t)(block) % (align) == 0)

/* 1000 bytes, which stay; 1280, 5000, 100 and a page, which do not. */
NOINLINE void F(aligned)(void) {
    void *block;
    CHECK(posix_memalign(&block, 64, 1000) == 0 && IS_AT(block, 64));
    void *other = aligned_alloc(128, 1280);
    CHECK(IS_AT(other, 128));
    free(other);
    other = memalign(4096, 5000);
    CHECK(IS_AT(other, 4096));
    free(other);
    other = valloc(100);
    CHECK(IS_AT(other, 4096));
    free(other);
    other = pvalloc(100);
    CHECK(IS_AT(other, 4096));
    free(other);
    CHECK(posix_memalign(&other, 3, 10) == EINVAL);
}

/* 5 blocks of nothing, at different addresses; one stays. */
NOINLINE void F(nothing)(void) {
    void *blocks[5];
    for (int n = 0; n < 5; n++) {
        blocks[n] = malloc(0);
        CHECK(blocks[n] && (!n || blocks[n] != blocks[n - 1]));
    }
    for (int n = 0; n < 4; n++) free(blocks[n]);
    free(NULL);
}

/* 100 bytes, whatever more of them can be used. */
NOINLINE void F(usable)(void) {
    char *block = malloc(100);
    size_t bytes = malloc_usable_size(block);
    CHECK(bytes >= 100 && malloc_usable_size(NULL) == 0);
    memset(block, 7, bytes);
    free(block);
}

/* 40 blocks of 13 bytes, by the C library. */
NOINLINE void F(copies)(void) {
    for (int n = 0; n < 40; n++) free(strdup("twelve chars"));
}

/* Nothing: all are refused. 50 bytes live on through it. */
NOINLINE void F(refused)(void *volatile *keeps) {
    errno = 0;
    CHECK(!malloc(PTRDIFF_MAX) && errno == ENOMEM);
    CHECK(!calloc(SIZE_MAX / 2, 4));
    CHECK(!aligned_alloc(64, PTRDIFF_MAX - 64));
    CHECK(!realloc(*keeps, PTRDIFF_MAX));
}

NOINLINE void F(refusals)(void) {
    void *volatile block = malloc(50);
    F(refused)(&block);
    free(block);
}

static void *volatile kept;

/* `depth` frames down, 17 bytes, which stay. */
NOINLINE void F(deep)(int depth) {
    if (depth > 1) {
        F(deep)(depth - 1);
        return;
    }
    kept = malloc(17);
    CHECK(kept);
}

/* 29 bytes, which stay, below a function that realigns its stack while it has arguments
   there: its frame is found by a word on the stack. */
NOINLINE int F(below_realigned)(volatile char *wide, int sum) {
    kept = malloc(29);
    return wide[0] + sum;
}

NOINLINE int F(realigned)(int a, int b, int c, int d, int e, int f, int g, int h) {
    volatile char wide[128] __attribute__((aligned(64))) = { 0 };
    return F(below_realigned)(wide, a + b + c + d + e + f + g + h) + wide[g];
}

void F(realigns)(void) {
    CHECK(F(realigned)(1, 2, 3, 4, 5, 6, 7, 8) == 36);
}

/* ---- threads -------------------------------------------------------------- */

#define SLOTS 512
static void *slots[SLOTS];
static pthread_mutex_t locks[SLOTS];
static unsigned long blocks_total, bytes_total, blocks_live, bytes_live;
static size_t sizes[SLOTS];

#define ADD(counter, n) __atomic_fetch_add(&(counter), (n), __ATOMIC_RELAXED)

struct work { unsigned seed; unsigned long steps; };

/* Allocates, reallocates and frees blocks that all threads share, and counts. */
NOINLINE void F(storm_step)(unsigned *random) {
    *random = *random * 1664525 + 1013904223;
    unsigned slot = (*random >> 8) % SLOTS;
    size_t bytes = 1 + (*random >> 18) % 3000;
    pthread_mutex_lock(&locks[slot]);
    if (!slots[slot]) {
        slots[slot] = *random & 1 ? malloc(bytes) : calloc(1, bytes);
        ADD(blocks_total, 1), ADD(bytes_total, bytes), ADD(blocks_live, 1), ADD(bytes_live, bytes);
    } else if (*random & 32) {
        slots[slot] = realloc(slots[slot], bytes);
        ADD(blocks_total, 1), ADD(bytes_total, bytes), ADD(bytes_live, bytes - sizes[slot]);
    } else {
        free(slots[slot]);
        slots[slot] = NULL;
        ADD(blocks_live, -1ul), ADD(bytes_live, -sizes[slot]);
    }
    sizes[slot] = bytes;
    pthread_mutex_unlock(&locks[slot]);
}

static void *storm_thread(void *argument) {
    struct work *work = argument;
    for (unsigned long step = 0; step < work->steps; step++) F(storm_step)(&work->seed);
    return NULL;
}

NOINLINE void F(storm)(unsigned threads, unsigned long steps, unsigned long counts[4]) {
    pthread_t handles[64];
    struct work work[64];
    for (int n = 0; n < SLOTS; n++) pthread_mutex_init(&locks[n], NULL);
    for (unsigned n = 0; n < threads; n++) {
        work[n] = (struct work){ n + 1, steps };
        CHECK(!pthread_create(&handles[n], NULL, storm_thread, &work[n]));
    }
    for (unsigned n = 0; n < threads; n++) pthread_join(handles[n], NULL);
    counts[0] = blocks_total, counts[1] = bytes_total;
    counts[2] = blocks_live, counts[3] = bytes_live;
}

/* ---- the ends of threads ---------------------------------------------------- */

#define KEYS 40
static pthread_key_t keys[KEYS];

/* Allocates as late as the threads library lets it: 31 bytes. */
NOINLINE void F(key_destructor)(void *block) {
    free(block);
    free(malloc(31));
}

/* 21 bytes; more for the value of so late a key, by the threads library, which
   frees it after the last destructor. */
NOINLINE void F(keyed)(void) {
    pthread_setspecific(keys[KEYS - 1], malloc(21));
}

static void *keyed_thread(void *unused) {
    F(keyed)();
    return unused;
}

NOINLINE void F(keyed_threads)(unsigned threads) {
    if (!keys[KEYS - 1])
        for (int n = 0; n < KEYS; n++)
            CHECK(!pthread_key_create(&keys[n], n == KEYS - 1 ? F(key_destructor) : NULL));
    for (unsigned n = 0; n < threads; n++) {
        pthread_t thread;
        CHECK(!pthread_create(&thread, NULL, keyed_thread, NULL));
        pthread_join(thread, NULL);
    }
}

/* ---- the end of the process -------------------------------------------------- */

NOINLINE void F(last_words)(void) {
    kept = malloc(71);
}

NOINLINE void F(say_last_words)(void) {
    atexit(F(last_words));
}
