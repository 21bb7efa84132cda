/* net_dump.c: run net.c on a file and write every layer's numbers, named as the golden bundle names them.

   cc -std=c99 -O2 -ffp-contract=off net_dump.c net.c -lm -o net_dump
   ./net_dump --all .. OUT                                    every case of the bundle in .. (c/cases.txt lists them):
                                                              writes OUT/<case>/ with what was read and what came out
   ./net_dump ../f32/case00_random/in.bin OUT                 the network: writes OUT/<layer id>.acc.bin and .out.bin
   ./net_dump --layer 3 OUT IN0.bin [IN1.bin]                 one layer alone

   Compiled for finite numbers only (-ffast-math, -ffinite-math-only), it says so in OUT/port.txt, which npunet verify
   reads: what must be NaN or infinite is then not judged.
   Files hold little-endian floats, as many samples as there are. --all makes its folders; otherwise OUT exists. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#include <direct.h>
#define make_folder(path) _mkdir(path)
#else
#include <sys/stat.h>
#define make_folder(path) mkdir(path, 0777)
#endif

#include "net.h"

enum { PATH_SIZE = 1024 };

static float in[NET_MOST_INPUTS][NET_LARGEST], out[NET_LARGEST];
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

static void write_as(const char *key, const float *values, int size)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/%s.bin", folder, key);
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
    if (fclose(file)) {
        fprintf(stderr, "cannot write %s\n", path);
        exit(2);
    }
}

static void write_floats(int layer, int stage, const float *values, int size, void *context)
{
    char key[PATH_SIZE];
    (void)context;
    snprintf(key, sizeof key, "%s.%s", net_layers[layer].id, stage == NET_ACC ? "acc" : "out");
    write_as(key, values, size);
}

/* What a reader has to know of the port. */
static void declare_port(const char *to)
{
#if defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%.1000s/port.txt", to);
    FILE *file = fopen(path, "w");
    if (!file || fputs("NPU PORT finite-math\n", file) < 0 || fclose(file)) {
        fprintf(stderr, "cannot write %s\n", path);
        exit(2);
    }
#else
    (void)to;
#endif
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

static void run_network(const char *path, int shows_input)
{
    FILE *file = opened(path);
    for (first_sample = 1; read_floats(file, in[0], NET_INPUT_SIZE); first_sample = 0) {
        if (shows_input)
            write_as("in", in[0], NET_INPUT_SIZE);
        net_run(in[0], out, write_floats, 0);
    }
    fclose(file);
}

static void run_layer(int layer, char paths[][PATH_SIZE], int shows_input)
{
    const float *inputs[NET_MOST_INPUTS] = {in[0], in[1]};
    FILE *files[NET_MOST_INPUTS] = {0};
    for (int k = 0; k < net_layers[layer].inputs; k++)
        files[k] = opened(paths[k]);
    for (first_sample = 1;; first_sample = 0) {
        int complete = 1;
        for (int k = 0; k < net_layers[layer].inputs; k++)
            complete = complete && read_floats(files[k], in[k], net_layers[layer].input_size[k]);
        if (!complete)
            break;
        for (int k = 0; shows_input && k < net_layers[layer].inputs; k++) {
            char key[PATH_SIZE];
            snprintf(key, sizeof key, "%s.in%d", net_layers[layer].id, k);
            write_as(key, in[k], net_layers[layer].input_size[k]);
        }
        net_run_layer(layer, inputs, out, write_floats, 0);
    }
    for (int k = 0; k < net_layers[layer].inputs; k++)
        fclose(files[k]);
}

/* Every case that c/cases.txt lists: its id, and the number of its layer, or -1 for the whole network. */
static void run_all(const char *bundle, const char *to)
{
    char path[PATH_SIZE], id[256], paths[NET_MOST_INPUTS][PATH_SIZE];
    int layer;
    snprintf(path, sizeof path, "%s/c/cases.txt", bundle);
    FILE *cases = opened(path);
    make_folder(to);
    declare_port(to);
    while (fscanf(cases, "%255s %d", id, &layer) == 2) {
        if (layer >= NET_LAYERS) {
            fprintf(stderr, "%s is of another network: it has a layer %d\n", path, layer);
            exit(2);
        }
        char where[PATH_SIZE];
        snprintf(where, sizeof where, "%.600s/%s", to, id);
        make_folder(where);
        folder = where;
        for (int k = 0; k < NET_MOST_INPUTS; k++)
            snprintf(paths[k], sizeof paths[k], layer < 0 ? "%.400s/f32/%s/in.bin" : "%.400s/f32/%s/%s.in%d.bin", bundle,
                     id, id, k);
        if (layer < 0)
            run_network(paths[0], 1);
        else
            run_layer(layer, paths, 1);
    }
    fclose(cases);
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "--all") == 0) {
        run_all(argv[2], argv[3]);
    } else if (argc == 3) {
        folder = argv[2];
        declare_port(folder);
        run_network(argv[1], 0);
    } else if (argc >= 5 && strcmp(argv[1], "--layer") == 0) {
        const int layer = atoi(argv[2]);
        char paths[NET_MOST_INPUTS][PATH_SIZE];
        if (layer < 0 || layer >= NET_LAYERS || argc != 4 + net_layers[layer].inputs) {
            fprintf(stderr, "no such layer, or not as many files as it has inputs\n");
            return 2;
        }
        folder = argv[3];
        declare_port(folder);
        for (int k = 0; k < net_layers[layer].inputs; k++)
            snprintf(paths[k], sizeof paths[k], "%s", argv[4 + k]);
        run_layer(layer, paths, 0);
    } else {
        fprintf(stderr, "usage: %s --all BUNDLE OUT | %s IN.bin OUT | %s --layer N OUT IN0.bin [IN1.bin]\n", argv[0],
                argv[0], argv[0]);
        return 2;
    }
    return 0;
}
