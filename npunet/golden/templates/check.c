/* check.c: compares a port with the golden numbers, layer by layer.

   cc -std=c99 -ffp-contract=off check.c port.c -lm -o check             your port (fill in port.c)
   cc -std=c99 -ffp-contract=off check.c port_net.c net.c -lm -o check   the worked example
   -DGOLDEN_CRC_ONLY          store no tensors: chained run only, told by CRC-32 and the words at either end

   Floats are compared bit for bit; a NaN equals any NaN. Exit status 0: everything was there and equal;
   1: something differs; 3: nothing differs, but layers were not there (SKIP is no pass). */
#include <stdio.h>
#include <string.h>

#include "golden_crc.h"
#include "golden_layers.h"
#include "port.h"

#ifndef GOLDEN_CRC_ONLY
#include GOLDEN_FIRST_CASE
#endif

enum { PASS, FAIL, SKIP };

static int failed, skipped, first_bad = -1;

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc00000u : bits; /* one NaN for all */
}

static uint32_t crc_of(uint32_t crc, const float *values, int count)
{
    for (int n = 0; n < count; n++) {
        const uint32_t bits = bits_of(values[n]);
        for (int byte = 0; byte < 4; byte++) {
            crc ^= bits >> 8 * byte & 255u; /* little-endian */
            for (int k = 0; k < 8; k++)
                crc = crc & 1u ? crc >> 1 ^ 0xedb88320u : crc >> 1;
        }
    }
    return crc;
}

static void count(int layer, int verdict)
{
    if (verdict == FAIL && (first_bad < 0 || layer < first_bad))
        first_bad = layer;
    failed += verdict == FAIL;
    skipped += verdict == SKIP;
}

#ifndef GOLDEN_CRC_ONLY

static float inputs[GOLDEN_MOST_INPUTS][GOLDEN_LARGEST], output[GOLDEN_LARGEST];

/* The bits as a number that grows with the float, so that differences count units in the last place. */
static long long ordered(uint32_t bits)
{
    return bits & 0x80000000u ? -(long long)(bits & 0x7fffffffu) : (long long)bits;
}

static int compare(const float *got, const uint32_t *want, int layer)
{
    const golden_layer *l = &golden_layers[layer];
    int differ = 0, first = 0;
    long long worst = 0;
    for (int n = 0; n < l->size; n++) {
        const uint32_t bits = bits_of(got[n]);
        if (bits == want[n])
            continue;
        const long long off = ordered(bits) - ordered(want[n]);
        if (!differ++)
            first = n;
        if (off > worst || -off > worst)
            worst = off < 0 ? -off : off;
    }
    if (!differ)
        return PASS;
    const int c = l->output_dims.c, w = l->output_dims.w;
    float wanted;
    memcpy(&wanted, &want[first], sizeof wanted);
    printf("%-40s FAIL  %d of %d differ, at most %lld ULP, first at [%d,%d,%d]: got %.9g, want %.9g\n", l->id, differ,
           l->size, worst, first / c / w, first / c % w, first % c, (double)got[first], (double)wanted);
    return FAIL;
}

static void feed(float *to, int layer)
{
    const uint32_t *from = layer < 0 ? golden_in : golden_out[layer];
    memcpy(to, from, sizeof(float) * (size_t)(layer < 0 ? GOLDEN_INPUT_SIZE : golden_layers[layer].size));
}

static void check_layers(void)
{
    printf("every layer alone, fed with golden inputs\n");
    for (int layer = 0; layer < GOLDEN_LAYERS; layer++) {
        const golden_layer *l = &golden_layers[layer];
        const float *in[GOLDEN_MOST_INPUTS] = {inputs[0], inputs[1]};
        int verdict = SKIP;
        for (int k = 0; k < l->inputs; k++)
            feed(inputs[k], l->input[k]);
        memset(output, 0xff, sizeof output);
        if (port_layer(layer, in, output))
            verdict = compare(output, golden_out[layer], layer);
        if (verdict != FAIL)
            printf("%-40s %s\n", l->id, verdict == PASS ? "PASS" : "SKIP  (not in port.c)");
        count(layer, verdict);
    }
}

#endif

static uint32_t crc[GOLDEN_LAYERS], ends[GOLDEN_LAYERS][2];
static int seen[GOLDEN_LAYERS], sample;

static void take(int layer, const float *values)
{
    if (layer < 0 || layer >= GOLDEN_LAYERS)
        return;
    const int size = golden_layers[layer].size;
    crc[layer] = crc_of(crc[layer], values, size);
    ends[layer][1] = bits_of(values[size - 1]);
    if (!seen[layer]++)
        ends[layer][0] = bits_of(values[0]);
}

static void check_network(const golden_case *g)
{
    static float in[GOLDEN_INPUT_SIZE], out[GOLDEN_OUTPUT_SIZE];
    int there = 1, differ = 0, missing = 0;
    for (int layer = 0; layer < GOLDEN_LAYERS; layer++) {
        crc[layer] = 0xffffffffu;
        seen[layer] = 0;
    }
    for (sample = 0; sample < g->samples && there; sample++) {
        memcpy(in, g->in + sample * GOLDEN_INPUT_SIZE, sizeof in);
        memset(out, 0xff, sizeof out);
        there = port_network(in, out, take);
        if (there && seen[GOLDEN_OUTPUT_LAYER] <= sample)
            take(GOLDEN_OUTPUT_LAYER, out);
    }
    printf("the whole network, %s\n", g->id);
    if (!there) {
        printf("%-40s SKIP  (not in port.c)\n", g->id);
        skipped++;
        return;
    }
    for (int layer = 0; layer < GOLDEN_LAYERS; layer++) {
        const golden_digest *d = &g->layers[layer];
        if (seen[layer] != g->samples) {
            missing++;
            continue;
        }
        if ((crc[layer] ^ 0xffffffffu) == d->out_crc)
            continue;
        differ++;
        count(layer, FAIL);
        if (differ == 1)
            printf("%-40s FAIL  CRC %08lx, want %08lx; first word %08lx, want %08lx; last %08lx, want %08lx\n",
                   golden_layers[layer].id, (unsigned long)(crc[layer] ^ 0xffffffffu), (unsigned long)d->out_crc,
                   (unsigned long)ends[layer][0], (unsigned long)d->first[0], (unsigned long)ends[layer][1],
                   (unsigned long)d->last[3]);
    }
    printf("%-40s %s  %d layers equal, %d differ, %d not shown\n", g->id, differ ? "FAIL" : "PASS",
           GOLDEN_LAYERS - differ - missing, differ, missing);
}

int main(void)
{
#ifndef GOLDEN_CRC_ONLY
    check_layers();
#endif
    for (int n = 0; n < GOLDEN_CASES; n++)
        check_network(&golden_cases[n]);
    if (first_bad >= 0)
        printf("FIRST DIVERGENCE %s (%s %s)\n", golden_layers[first_bad].id, golden_layers[first_bad].operation,
               golden_layers[first_bad].name);
    printf("VERDICT %s\n", failed ? "FAIL" : skipped ? "INCOMPLETE" : "PASS");
    return failed ? 1 : skipped ? 3 : 0;
}
