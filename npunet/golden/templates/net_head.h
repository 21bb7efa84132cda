/* net.h: @TITLE@ */
#ifndef NET_H
#define NET_H

#define NET_LAYERS @LAYERS@
#define NET_MOST_INPUTS 2
#define NET_INPUT_SIZE @INPUT_SIZE@ /* @INPUT_SHAPE@ */
#define NET_OUTPUT_SIZE @OUTPUT_SIZE@ /* @OUTPUT_SHAPE@ */
#define NET_ARENA_SIZE @ARENA_SIZE@ /* floats: every tensor between input and output */
#define NET_LARGEST @LARGEST@ /* floats in the largest tensor */

enum { NET_ACC, NET_OUT }; /* what a convolution has summed before its bias; what a layer gives */

/* Told of every accumulator and every output as soon as it is there. */
typedef void (*net_observer)(int layer, int stage, const float *values, int size, void *context);

typedef struct {
    const char *id;
    int inputs, input_size[NET_MOST_INPUTS], size;
} net_layer;

extern const net_layer net_layers[NET_LAYERS];

/* Run the network on one sample. observe may be 0. Not reentrant: there is one arena. */
void net_run(const float *input, float *output, net_observer observe, void *context);

/* Run one layer alone on one sample. */
void net_run_layer(int layer, const float *const *inputs, float *output, net_observer observe, void *context);

#endif
