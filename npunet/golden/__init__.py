"""Golden bundles: the numbers that a port in C, HLS or Verilog has to reproduce, in the forms that its tools read.

This docstring is the format. `bundle.golden` writes it, `reader.Bundle` reads it, `schema.json` checks the manifest.

    OUT/
      manifest.json       all there is to know about every file; `schema` is its version
      SHA256SUMS          every other file, for `sha256sum -c SHA256SUMS`
      .gitattributes      for git: it changes no line ends here
      README.txt          what is here, in one page             LICENSE-DATA
      REFERENCE.md        every formula with its rounding, every field, how to judge: all that a port needs
      manifest.schema.json         schema.json
      model/model.npz     the model as UNet.save wrote it       model/graph.json    the layers below, as run
      model/weights.npz   the weights of graph.json (folded at level "deploy")
      model/weights.bin   the same as raw words, one after the other, at the manifest's offsets
      f32/<case>/tensors.npz       format "npz": every stored tensor of the case, member name = its key
      f32/<case>/<key>.bin         format "bin": little-endian words, row-major
      hex/<case>/<key>.mem         format "hex": $readmemh, one 32-bit word a line; first network case only
      hex/*.v                      Verilog benches
      c/net.c net.h net_weights.h  the network in C99           c/golden_<case>.h c/golden_crc.h c/check.c c/port.c ...
      c/cases.txt                  the cases that `net_dump --all` runs
      c/board/                     with target=...: what a board needs to run them, see npunet.golden.boards
      backward/                    with backward=True: as f32/<case>, the case is called "backward"

Layers and keys. Layer number 3, called "ENC1_D1_conv/depthwise", has the id `L003_ENC1_D1_conv_depthwise` (what is
neither letter, digit, `_`, `.` nor `-` becomes `_`); numbers are positions in graph.json. A tensor's key is

    in                 the network's input
    <layer id>.in0     first input of the layer, .in1 the second (layer cases only: elsewhere it is its producer's out)
    <layer id>.acc     what a convolution has summed before its bias; absent without a bias, since then it is out
    <layer id>.out     the layer's output
    <layer id>.local   bound on |port - out| of the layer fed with golden inputs      (with bounds=True)
    <layer id>.bound   bound on |port - out| of the whole network up to here          (with bounds=True)

and in the case "backward", where layers are those of `backward.layers`:

    in, labels, <layer id>.out    the batch, its class numbers (int32), the activations in training
    din, <layer id>.dout          dLoss/d of the input and of every layer's output
    <layer id>.mask               what a dropout multiplies with
    <weight id>.value .grad       every weight and its gradient (moving statistics have no gradient)
    <weight id>.step              trainable weights after one SGD step
    <weight id>.batch .step       moving statistics: what the batch had, and the moving value after the step

A weight's id is `W004_ENC1_D1_conv_kernel`. A tensor's id in the manifest is "<case id>/<key>"; file names repeat keys.

Cases. Scope "network": `case00_random`, ... run the whole network, (N, H, W, C) with N samples. Scope "layer": its id
is a layer id; the layer alone is fed with `in0` (`in1`), chosen for its operator; weightless layers that are equal in
operator, attributes and input shapes share the case of the first (`layers[i].case` names it). Scope "backward": one.
`stored` is "full" (the first network case, the real input, every layer case), or "ends": some tensors have no file (the
network's input and output always have), only their CRC, SHA-256 and statistics; run again from model/ they are the same
numbers (reader.Bundle.tensor does that).

Numbers. float32, little-endian, row-major, N H W C (a signal has H = 1); kernels are KH KW C F, depthwise KH KW C M.
Every NaN is stored as 0x7fc00000 and is to be compared as "a NaN"; zeros have signs. crc32 (zlib's) and sha256 are of
a tensor's bytes as in its .bin, also where there is no such file. Values are exact: the profile (level, float_order,
exp) says how each bit comes about, and no operation fuses except the multiply-add of "seq_fma". The backward case is
computed in float64 from the float32 forward pass in training and rounded once; it is compared within bounds
(backward_bounds), since the order of its sums is nobody's promise.

A port's dump repeats the names: `<case>/<key>.bin`, or an npz whose members are keys, and so on; parts may be missing.
"""

from npunet.golden.bundle import golden
from npunet.golden.integer.reader import open_bundle
from npunet.golden.reader import Bundle

__all__ = ["Bundle", "golden", "open_bundle"]
