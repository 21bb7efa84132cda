/* net.c: @TITLE@
   cc -std=c99 -O2 -c net.c; -DNET_OBSERVE also keeps what stands before the clamps. */
#include "net.h"

#include <stddef.h>
#include <string.h>

#include "net_weights.h"

typedef char right_shifts_are_arithmetic[(-1 >> 1) == -1 ? 1 : -1];

#ifdef NET_OBSERVE
int64_t net_acc[NET_LARGEST], net_pre[NET_LARGEST];
#define NOTE(n, acc, pre) (net_acc[n] = (acc), net_pre[n] = (pre))
#else
#define NOTE(n, acc, pre) ((void)0)
#endif

