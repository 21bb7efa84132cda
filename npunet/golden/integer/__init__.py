"""Golden bundles of integer networks: every integer that an int8 or 16x8 port has to reproduce.

`npunet.golden.golden` writes it where it is given an integer network, `reader.IntegerBundle` reads it.

    OUT/
      manifest.json    SHA256SUMS    README.txt
      model/model.npz              the network as IntegerModel.save wrote it
      model/weights.bin            its arrays as raw little-endian words, at the manifest's offsets
      <scheme>/<case>/tensors.npz  every tensor of the case, member name = its key
      <scheme>/<case>/<key>.bin    the same as little-endian two's complement, row-major
      npz/<case>.npz               input_0 and output_0 in the user's shapes
      hex/<case>/<key>.mem         $readmemh, the first network case and every layer's
      c/net.c net.h net_weights.h  the network in C99          c/net_dump.c cases.txt   runs it on every case
      c/golden_layers.h            every layer's quantisation with CMSIS-NN's field names
      c/golden_<case>.h            the first sample of the first case as arrays

Cases. Scope "network": `case00_random`, ... run the whole network. Scope "layer": its id is a layer's; the layer alone
is fed with inputs at which faults of its own constants show (corners). Keys of a case's tensors; <layer id> is
L003_ENC1_D1_conv as in the bundles of float networks:

    in                 the network's input, (N, H, W, C); a signal has H = 1
    <layer id>.in0     first input of the layer, .in1 the second (layer cases only)
    <layer id>.acc     the sum before the requantisation, bias included; for an add both inputs on their common scale
    <layer id>.pre     requantised, zero point added, before the clamp
    <layer id>.out     the output

A port's dump repeats the keys.
"""
