/* port.h: what check.c asks of a port. */
#ifndef PORT_H
#define PORT_H

/* A port calls it with each output that it has, layer by layer. */
typedef void (*port_observer)(int layer, const float *values);

/* One layer alone, on one sample (H W C): fill output and return 1, or return 0 where there is nothing yet. */
int port_layer(int layer, const float *const *inputs, float *output);

/* The whole network: call seen for as many layers as can be told, fill output and return 1; or return 0. */
int port_network(const float *input, float *output, port_observer seen);

#endif
