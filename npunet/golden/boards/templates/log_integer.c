/* net_log.c: run every case and print what came out, as lines that npunet verify reads.
   -DNET_OBSERVE, for net.c too, prints accumulators and what stands before the clamps. */
#include "board.h"
#include "cases.h"
#include "serial_log.h"

static const board_case *now;
static int sample;

static void print(int layer, const char *role, const void *values, int bytes, int apart)
{
    const log_form form = {net_layers[layer].size, bytes, apart, sample, now->samples};
    log_tensor(now->id, net_layers[layer].id, role, values, &form);
}

static void shown(int layer, const net_value *values, void *context)
{
    (void)context;
#ifdef NET_OBSERVE
    const net_layer *about = net_layers + layer;
    if (about->has_acc)
        print(layer, ".acc", net_acc, about->wide_bytes, (int)sizeof *net_acc); /* kept with 64 bits */
    if (about->has_pre)
        print(layer, ".pre", net_pre, about->wide_bytes, (int)sizeof *net_pre);
#endif
    print(layer, ".out", values, (int)sizeof *values, (int)sizeof *values);
}

static void run(void)
{
    static net_value output[NET_LARGEST];
    if (now->layer < 0) {
        net_run(now->in[0] + sample * NET_INPUT_SIZE, output, shown, 0);
    } else {
        const net_value *inputs[NET_MOST_INPUTS] = {0};
        for (int k = 0; k < net_layers[now->layer].inputs; k++)
            inputs[k] = now->in[k] + sample * net_layers[now->layer].input_sizes[k];
        net_run_layer(now->layer, inputs, output);
        shown(now->layer, output, 0);
    }
}

int main(void)
{
    board_begin();
    board_put("NPU BUNDLE " BUNDLE_FINGERPRINT "\n");
    for (now = board_cases; now < board_cases + board_case_count; now++)
        for (sample = 0; sample < now->samples; sample++)
            run();
    board_put("NPU DONE 0\n");
    return 0;
}
