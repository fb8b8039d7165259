/* To be preloaded: stands between the program's allocator functions and the C library's, and
   counts what comes by, without knowing what a profiler is. */
#include <errno.h>
#include <malloc.h>
#include <stddef.h>
#include <stdint.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

static uint64_t blocks, bytes, freed;

static void *counted(void *block, size_t size) {
    if (block) {
        __atomic_fetch_add(&blocks, 1, __ATOMIC_RELAXED);
        __atomic_fetch_add(&bytes, size, __ATOMIC_RELAXED);
    }
    return block;
}

void oracle_counts(uint64_t counts[3]) {
    counts[0] = blocks, counts[1] = bytes, counts[2] = blocks - freed;
}

void *malloc(size_t size) { return counted(__libc_malloc(size), size); }

void *calloc(size_t count, size_t each) { return counted(__libc_calloc(count, each), count * each); }

void free(void *block) {
    if (block) __atomic_fetch_add(&freed, 1, __ATOMIC_RELAXED);
    __libc_free(block);
}

void *realloc(void *block, size_t size) {
    if (block && !size) {
        free(block);
        return NULL;
    }
    void *moved = __libc_realloc(block, size);
    /* One life goes on: one more block, and one less. */
    if (moved && block) __atomic_fetch_add(&freed, 1, __ATOMIC_RELAXED);
    return counted(moved, size);
}

void *memalign(size_t align, size_t size) { return counted(__libc_memalign(align, size), size); }

void *aligned_alloc(size_t align, size_t size) { return memalign(align, size); }

void *valloc(size_t size) { return memalign(4096, size); }

void *pvalloc(size_t size) { return memalign(4096, (size + 4095) & ~(size_t)4095); }

int posix_memalign(void **block, size_t align, size_t size) {
    if (align % sizeof(void *) || align & (align - 1) || !align) return EINVAL;
    void *new = memalign(align, size);
    if (!new) return ENOMEM;
    *block = new;
    return 0;
}
