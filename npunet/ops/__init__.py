"""Operators of the network: pure functions of NumPy arrays, each backward directly under its forward.

Size letters, the same in every file:

    N        images (or signals) in the batch
    H, W     height and width of the input; a signal of length L is an image with H = 1, W = L
    C        channels of the input
    F        filters, the channels of a convolution's output
    M        outputs per channel of a depthwise convolution; channel c feeds outputs c*M ... c*M + M - 1
    KH, KW   height and width of a kernel or window, ky and kx its indices
    OH, OW   height and width of the output
    K        classes
    P        positions, all (n, i, j) together

    sy, sx   stride;  dy, dx in a subscript or attribute   dilation;  fy, fx   upsampling factor
    dy, dx, dw, ... of a backward   dLoss/dy, dLoss/dx, dLoss/dw

`<op>_forward(*tensors, *weights, **attrs)` returns y, or (y, saves) where the backward needs more than the inputs;
`<op>_backward(dy, *tensors, *weights, **attrs, **saves)` returns a tuple of gradients in the order of the forward's
arguments, None for an argument that was None or is a constant. `<op>_macs(output shape, *weight shapes)` counts
multiply-accumulates. Results have the dtype of x: float32, float64 or complex128. No argument is modified.
"""
