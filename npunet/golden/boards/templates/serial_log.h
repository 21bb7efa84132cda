/* serial_log.h: tensors as lines of text that npunet verify reads. */
#ifndef SERIAL_LOG_H
#define SERIAL_LOG_H

typedef struct {
    int count;           /* words */
    int bytes, apart;    /* of a word, its lowest first, and from one word to the next */
    int sample, samples; /* which one of how many */
} log_form;

/* One sample of the tensor case/layer.role. */
void log_tensor(const char *case_id, const char *layer, const char *role, const void *values, const log_form *form);

#endif
