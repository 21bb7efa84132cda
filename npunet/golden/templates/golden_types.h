/* golden_layers.h: @TITLE@
   Fields are named and ordered as in CMSIS-NN (cmsis_nn_dims, cmsis_nn_tile, cmsis_nn_activation, cmsis_nn_conv_params,
   cmsis_nn_dw_conv_params, cmsis_nn_pool_params); a float network has no offsets, and its activation limits are floats. */
#ifndef GOLDEN_LAYERS_H
#define GOLDEN_LAYERS_H

#include <math.h>
#include <stdint.h>

#define GOLDEN_LAYERS @LAYERS@
#define GOLDEN_OUTPUT_LAYER @OUTPUT_LAYER@
#define GOLDEN_MOST_INPUTS 2
#define GOLDEN_INPUT_SIZE @INPUT_SIZE@
#define GOLDEN_OUTPUT_SIZE @OUTPUT_SIZE@
#define GOLDEN_LARGEST @LARGEST@
@FIRST_CASE@

typedef struct { int32_t n, h, w, c; } golden_dims;
typedef struct { int32_t w, h; } golden_tile;
typedef struct { float min, max; } golden_activation;

typedef struct {
    int32_t input_offset, output_offset, ch_mult;
    golden_tile stride, padding, dilation;
    golden_activation activation;
} golden_params;

typedef struct {
    const char *id, *operation, *name;
    int inputs, input[GOLDEN_MOST_INPUTS]; /* layers that it reads, -1 is the network's input */
    int size;                              /* of its output */
    golden_dims input_dims, filter_dims, output_dims;
    golden_params params;
} golden_layer;

static const golden_layer golden_layers[GOLDEN_LAYERS] = {
@ROWS@
};

#endif
