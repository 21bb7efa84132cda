/* net_dump.c: run net.c on a file and write every layer's numbers, named as the golden bundle names them.

   cc -std=c99 -O2 -ffp-contract=off net_dump.c net.c -lm -o net_dump
   ./net_dump ../f32/case00_random/in.bin OUT                 the network: writes OUT/<layer id>.acc.bin and .out.bin
   ./net_dump --layer 3 OUT IN0.bin [IN1.bin]                 one layer alone

   Files hold little-endian floats, as many samples as there are. OUT is a folder that exists. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net.h"

static const char *folder;
static int first_sample = 1;

static int read_floats(FILE *file, float *values, int count)
{
    for (int n = 0; n < count; n++) {
        unsigned char b[4];
        if (fread(b, 1, 4, file) != 4)
            return 0;
        const uint32_t bits = (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
        memcpy(values + n, &bits, 4);
    }
    return 1;
}

static void write_floats(int layer, int stage, const float *values, int size, void *context)
{
    char path[1024];
    (void)context;
    snprintf(path, sizeof path, "%s/%s.%s.bin", folder, net_layers[layer].id, stage == NET_ACC ? "acc" : "out");
    FILE *file = fopen(path, first_sample ? "wb" : "ab");
    if (!file) {
        fprintf(stderr, "cannot write %s\n", path);
        exit(2);
    }
    for (int n = 0; n < size; n++) {
        uint32_t bits;
        memcpy(&bits, values + n, 4);
        const unsigned char b[4] = {(unsigned char)(bits & 255u), (unsigned char)(bits >> 8 & 255u),
                                    (unsigned char)(bits >> 16 & 255u), (unsigned char)(bits >> 24)};
        fwrite(b, 1, 4, file);
    }
    fclose(file);
}

static FILE *opened(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        fprintf(stderr, "cannot read %s\n", path);
        exit(2);
    }
    return file;
}

int main(int argc, char **argv)
{
    static float in[NET_MOST_INPUTS][NET_LARGEST], out[NET_LARGEST];
    if (argc == 3) {
        FILE *file = opened(argv[1]);
        folder = argv[2];
        for (; read_floats(file, in[0], NET_INPUT_SIZE); first_sample = 0)
            net_run(in[0], out, write_floats, 0);
        fclose(file);
    } else if (argc >= 5 && strcmp(argv[1], "--layer") == 0) {
        const int layer = atoi(argv[2]);
        if (layer < 0 || layer >= NET_LAYERS || argc != 4 + net_layers[layer].inputs) {
            fprintf(stderr, "no such layer, or not as many files as it has inputs\n");
            return 2;
        }
        const float *inputs[NET_MOST_INPUTS] = {in[0], in[1]};
        FILE *files[NET_MOST_INPUTS] = {0};
        folder = argv[3];
        for (int k = 0; k < net_layers[layer].inputs; k++)
            files[k] = opened(argv[4 + k]);
        for (;; first_sample = 0) {
            int complete = 1;
            for (int k = 0; k < net_layers[layer].inputs; k++)
                complete = complete && read_floats(files[k], in[k], net_layers[layer].input_size[k]);
            if (!complete)
                break;
            net_run_layer(layer, inputs, out, write_floats, 0);
        }
        for (int k = 0; k < net_layers[layer].inputs; k++)
            fclose(files[k]);
    } else {
        fprintf(stderr, "usage: %s IN.bin OUT | %s --layer N OUT IN0.bin [IN1.bin]\n", argv[0], argv[0]);
        return 2;
    }
    return 0;
}
