"""Verifying a port against a golden bundle: which layer is wrong first, by how much, and why.

Outputs are a file or a folder. Tensors are called as in the bundle (`L003_ENC1_D1_conv.out`, `.acc`), by the layer's id
or by its name, each with or without `<case>/` before it; a folder or a file called like a case says the same. Without
any case, the bundle's first network case is meant. Parts may be missing, but PASS is said only of every layer in every
case; of a network case that the bundle stores by its ends, the network's output is enough. Exit statuses: 0 PASS, 1
FAIL, 2 an error in the files, 3 layers missing, 4 cases missing, 5 NOT JUDGED, 6 NON-FINITE FAIL.

    .npz    one member a tensor; a member "bundle" may state the fingerprint of the bundle that it was made for
    .npy    one array: (N, H, W, C), with or without axes of size 1, or another layout that only fits the shape
    .bin    raw little-endian 32-bit words, row-major, nothing else
    .mem .hex   words of eight hex digits, // comments, as $readmemh reads them
    .log .txt   what a board prints; lines that hold none of these five marks are passed over, as is what stands before
                    NPU BUNDLE <Bundle.fingerprint>                optional
                    NPU PORT finite-math                           optional, see below
                    NPU TENSOR <case>/<key> <number of words> [<sample> <samples>]
                    NPU DATA <words of eight hex digits> ...       as many lines as it takes
                    NPU END <CRC-32 of the little-endian bytes, eight hex digits>
    .json   TFLite-Micro's layer-by-layer data as JSON (flatc --json), see tflm

uint32 arrays are bits; float64 is taken when every value is a float32; float16 is widened.

Two questions are asked of every tensor of a network case: is it the golden one (chained), and is it right for what the
port itself had before it (own)? A layer that only inherited is told from one that errs. Layer cases are fed with golden
inputs. What a port shows of its input (`in`) is verified as well: a wrong one is the first divergence, and what was
done to it is looked for. Arrays whose shape says another layout are read so when it fits all of them; one among others
that stands in another layout fails. Bit for bit a NaN equals any NaN, and zeros have signs.

With bounded=True, a tensor has to lie within the bound of the whole network and each layer within its local one. A
bound that is wider than a hundredth of the tensor's range judges nothing: NOT JUDGED, never PASS, and what lies behind
layers that were not given is compared with other orders of summation, sampled, besides (statistics). Where NaN or
infinity must stand, an element of another kind is judged apart: NON-FINITE FAIL, unless the port declares that it keeps
none (finite_math=True, or a line NPU PORT finite-math in a log). A subnormal that is zero does not fail.
In a backward case every tensor is judged by what the port's own tensors before it make of it, within the bound of that
one step (golden.backward_bounds); where one of these is missing, within 2^-10 of the golden tensor's largest magnitude.
"""

from npunet.verify.results import Result
from npunet.verify.verdict import verify

__all__ = ["Result", "verify"]
