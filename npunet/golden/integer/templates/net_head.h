/* net.h: @TITLE@
   Integers in, integers out; no float, no allocation. Tensors are H W C, one sample. */
#ifndef NET_H
#define NET_H

#include <stdint.h>

typedef @TYPE@ net_value;

#define NET_LAYERS @LAYERS@
#define NET_INPUT_SIZE @INPUT_SIZE@ /* @INPUT_SHAPE@ */
#define NET_OUTPUT_SIZE @OUTPUT_SIZE@ /* @OUTPUT_SHAPE@ */
#define NET_LARGEST @LARGEST@ /* values of the largest tensor */
#define NET_MOST_INPUTS @MOST_INPUTS@
#define NET_FLASH_BYTES @FLASH@ /* of constants: weights, biases, multipliers, shifts, tables */
#define NET_ARENA_SIZE @ARENA@ /* values between input and output */
#define NET_RAM_BYTES @RAM@ /* arena, input and output */

typedef struct {
    const char *id;
    int inputs, input_sizes[NET_MOST_INPUTS], size;
    int wide_bytes; /* of .acc and .pre */
    int has_acc, has_pre;
} net_layer;

extern const net_layer net_layers[NET_LAYERS];

typedef void (*net_observer)(int layer, const net_value *values, void *context);

/* Run the network. observe, unless it is 0, sees every layer's output. */
void net_run(const net_value *input, net_value *output, net_observer observe, void *context);

/* Run one layer on the given inputs. */
void net_run_layer(int layer, const net_value *const *inputs, net_value *output);

#ifdef NET_OBSERVE /* what the last layer had before its clamp; costs 16 bytes a value */
extern int64_t net_acc[NET_LARGEST], net_pre[NET_LARGEST];
#endif

#endif
