/* cases.h: the bundle's cases, their inputs as files of the bundle have them (case_data.S). */
#ifndef CASES_H
#define CASES_H

#include "../net.h"

#define BUNDLE_FINGERPRINT "@FINGERPRINT@"
#define OUTPUT_LAYER @OUTPUT_LAYER@

typedef struct {
    const char *id;
    int layer;      /* the one layer of the case, or -1 for the whole network */
    int samples;
    int every_layer; /* whether every layer's output is asked for, or the network's alone */
    const @TYPE@ *in[NET_MOST_INPUTS];
} board_case;

extern const board_case board_cases[];
extern const int board_case_count;

#endif
