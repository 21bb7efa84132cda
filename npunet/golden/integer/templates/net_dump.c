/* net_dump.c: run net.c on a file and write every layer's numbers, named as the golden bundle names them.

   cc -std=c99 -O2 -DNET_OBSERVE net_dump.c net.c -o net_dump
   ./net_dump --sizes                       flash and RAM
   ./net_dump --all .. OUT                  every case of the bundle in .. (c/cases.txt lists them) into OUT/<case>/
   ./net_dump IN.bin OUT                    the network on the samples of a file: OUT/<layer id>.acc.bin .pre.bin .out.bin

   Files hold little-endian two's complement, as many samples as there are. --all makes its folders; else OUT exists. */
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

static net_value in[NET_MOST_INPUTS][NET_LARGEST], out[NET_LARGEST];
static const char *folder;
static int first_sample = 1;

static FILE *opened(const char *path, const char *how)
{
    FILE *file = fopen(path, how);
    if (!file) {
        fprintf(stderr, "cannot open %s\n", path);
        exit(2);
    }
    return file;
}

static int read_values(FILE *file, net_value *values, int count)
{
    for (int n = 0; n < count; n++) {
        uint32_t bits = 0;
        for (size_t k = 0; k < sizeof *values; k++) {
            const int byte = fgetc(file);
            if (byte == EOF)
                return 0;
            bits |= (uint32_t)byte << (8 * k);
        }
        const uint32_t sign = (uint32_t)1 << (8 * sizeof *values - 1);
        values[n] = (net_value)(bits & sign ? (int32_t)(bits - sign) - (int32_t)(sign - 1) - 1 : (int32_t)bits);
    }
    return 1;
}

static FILE *target(int layer, const char *role)
{
    char path[PATH_SIZE];
    if (layer < 0)
        snprintf(path, sizeof path, "%s/in.bin", folder);
    else
        snprintf(path, sizeof path, "%s/%s.%s.bin", folder, net_layers[layer].id, role);
    return opened(path, first_sample ? "wb" : "ab");
}

static void put(FILE *file, int64_t value, int bytes)
{
    for (int k = 0; k < bytes; k++)
        fputc((int)((uint64_t)value >> (8 * k) & 255u), file);
}

static void finish(FILE *file)
{
    if (fclose(file)) {
        fprintf(stderr, "cannot write into %s\n", folder);
        exit(2);
    }
}

static void write_values(int layer, const char *role, const net_value *values, int size)
{
    FILE *file = target(layer, role);
    for (int n = 0; n < size; n++)
        put(file, values[n], (int)sizeof *values);
    finish(file);
}

#ifdef NET_OBSERVE
static void write_wide(int layer, const char *role, const int64_t *values)
{
    FILE *file = target(layer, role);
    for (int n = 0; n < net_layers[layer].size; n++)
        put(file, values[n], net_layers[layer].wide_bytes);
    finish(file);
}
#endif

static void observe(int layer, const net_value *values, void *context)
{
    (void)context;
#ifdef NET_OBSERVE
    if (net_layers[layer].has_acc)
        write_wide(layer, "acc", net_acc);
    if (net_layers[layer].has_pre)
        write_wide(layer, "pre", net_pre);
#endif
    write_values(layer, "out", values, net_layers[layer].size);
}

static int run_file(const char *path)
{
    FILE *file = opened(path, "rb");
    int samples = 0;
    first_sample = 1;
    while (read_values(file, in[0], NET_INPUT_SIZE)) {
        write_values(-1, "", in[0], NET_INPUT_SIZE);
        net_run(in[0], out, observe, 0);
        first_sample = 0;
        samples++;
    }
    fclose(file);
    return samples;
}

/* One layer alone on the inputs of its own case: names is "<file> ...", one an input. */
static void run_alone(const char *bundle, int layer, char *names)
{
    FILE *files[NET_MOST_INPUTS] = {0};
    const net_value *given[NET_MOST_INPUTS];
    const net_layer *about = net_layers + layer;
    char *name = strtok(names, " \n");
    for (int k = 0; k < about->inputs; k++, name = strtok(0, " \n")) {
        char path[PATH_SIZE];
        snprintf(path, sizeof path, "%s/%s", bundle, name ? name : "");
        files[k] = opened(path, "rb");
        given[k] = in[k];
    }
    first_sample = 1;
    for (;;) {
        int whole = 1;
        for (int k = 0; k < about->inputs; k++)
            whole = whole && read_values(files[k], in[k], about->input_sizes[k]);
        if (!whole)
            break;
        net_run_layer(layer, given, out);
        observe(layer, out, 0);
        first_sample = 0;
    }
    for (int k = 0; k < about->inputs; k++)
        fclose(files[k]);
}

static int run_all(const char *bundle, const char *into)
{
    static char line[16 * PATH_SIZE], place[PATH_SIZE], path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/c/cases.txt", bundle);
    FILE *list = opened(path, "r");
    make_folder(into);
    while (fgets(line, sizeof line, list)) {
        char kind[8], name[256];
        int used = 0;
        if (sscanf(line, "%7s %255s %n", kind, name, &used) < 2)
            continue;
        snprintf(place, sizeof place, "%s/%s", into, name);
        make_folder(place);
        folder = place;
        char *rest = line + used;
        if (strcmp(kind, "case") == 0) {
            char *file = strtok(rest, " \n");
            snprintf(path, sizeof path, "%s/%s", bundle, file ? file : "");
            run_file(path);
        } else {
            const int layer = (int)strtol(rest, &rest, 10);
            run_alone(bundle, layer, rest);
        }
    }
    fclose(list);
    return 0;
}

int main(int count, char **given)
{
    if (count == 2 && strcmp(given[1], "--sizes") == 0) {
        printf("flash %ld bytes of constants\nram %ld bytes: arena %ld, input %ld, output %ld\n", (long)NET_FLASH_BYTES,
               (long)NET_RAM_BYTES, (long)(NET_ARENA_SIZE * sizeof(net_value)),
               (long)(NET_INPUT_SIZE * sizeof(net_value)), (long)(NET_OUTPUT_SIZE * sizeof(net_value)));
        return 0;
    }
    if (count == 4 && strcmp(given[1], "--all") == 0)
        return run_all(given[2], given[3]);
    if (count == 3) {
        folder = given[2];
        if (!run_file(given[1])) {
            fprintf(stderr, "%s holds no whole sample of %d values\n", given[1], NET_INPUT_SIZE);
            return 2;
        }
        return 0;
    }
    fprintf(stderr, "usage: net_dump --sizes | --all BUNDLE OUT | IN.bin OUT\n");
    return 2;
}
