/* net_log.c: run every case and print what came out, as lines that npunet verify reads.
   -DLOG_ACC prints accumulators too. */
#include "board.h"
#include "cases.h"
#include "serial_log.h"

static const board_case *now;
static int sample;

static void shown(int layer, int stage, const float *values, int size, void *context)
{
    (void)context;
    if (!now->every_layer && layer != OUTPUT_LAYER)
        return;
    const log_form form = {size, (int)sizeof *values, (int)sizeof *values, sample, now->samples};
    if (stage == NET_OUT)
        log_tensor(now->id, net_layers[layer].id, ".out", values, &form);
#ifdef LOG_ACC
    if (stage == NET_ACC)
        log_tensor(now->id, net_layers[layer].id, ".acc", values, &form);
#endif
}

static void run(void)
{
    static float output[NET_LARGEST];
    if (now->layer < 0) {
        net_run(now->in[0] + sample * NET_INPUT_SIZE, output, shown, 0);
    } else {
        const float *inputs[NET_MOST_INPUTS] = {0};
        for (int k = 0; k < net_layers[now->layer].inputs; k++)
            inputs[k] = now->in[k] + sample * net_layers[now->layer].input_size[k];
        net_run_layer(now->layer, inputs, output, shown, 0);
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
