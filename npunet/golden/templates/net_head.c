/* net.c: @TITLE@

   The worked example of a port: plain C99, one function a layer, in the order that the bundle declares (@ORDER@).
   Tensors are H W C; a signal has H = 1. No allocation: every tensor has its place in one static block.

   cc -std=c99 -O2 -ffp-contract=off -c net.c
   A compiler that fuses a * b + c by itself changes bits: keep -ffp-contract=off, and never -ffast-math. GCC is told so
   below, whatever its options say; clang takes its option -ffp-contract=fast before the pragma. */
#include "net.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "net_weights.h"

#if FLT_EVAL_METHOD != 0
#error "floats must not be evaluated in a wider type; on 32-bit x86 compile with -msse2 -mfpmath=sse"
#endif
#if defined(__FAST_MATH__)
#error "-ffast-math changes the numbers"
#endif
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

#if !defined(NET_KERNEL) && defined(__GNUC__)
#define NET_KERNEL static __attribute__((noinline)) /* one copy for all layers: a third of the code size */
#elif !defined(NET_KERNEL)
#define NET_KERNEL static
#endif

typedef struct {
    net_observer observe;
    void *context;
} watcher;

static void show(const watcher *watch, int layer, int stage, const float *values, int size)
{
    if (watch->observe)
        watch->observe(layer, stage, values, size, watch->context);
}

