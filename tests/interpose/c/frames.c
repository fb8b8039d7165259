/* Compiled twice, with frames of different sizes: the same calls at the same places. A plug-in
   that is built again and loaded in the place of the old one. */
#include <stdlib.h>

#ifndef PAD
#error PAD: bytes of each frame
#endif

static void *volatile kept;

__attribute__((noinline)) int plugged_innermost(int n) {
    volatile char pad[PAD];
    pad[n] = 1;
    kept = malloc(23);
    free(kept);
    return pad[n];
}

__attribute__((noinline)) int plugged_middle(int n) {
    volatile char pad[PAD];
    pad[n] = 1;
    return plugged_innermost(n) + pad[n];
}

__attribute__((noinline)) int plugged_outermost(int n) {
    volatile char pad[PAD];
    pad[n] = 1;
    return plugged_middle(n) + pad[n];
}
