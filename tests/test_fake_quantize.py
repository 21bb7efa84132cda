"""Fake quantisation: its operator, its network, and its gradients beside PyTorch's; and that fine-tuning helps."""

import numpy as np
import pytest
from integer_judges import calibration, float_model

from npunet import quantize
from npunet.deploy import deploy, deploy_backward
from npunet.integer import run as integer_run
from npunet.integer.quantization.calibrate import calibrate
from npunet.integer.quantization.fake import COPYING, SUFFIX, fake_quantized, fake_quantized_weights
from npunet.integer.quantization.plan import make_plan
from npunet.integer.quantization.quantize import LEVELS, settle
from npunet.ops.fake_quantize import fake_quantize_backward, fake_quantize_forward
from npunet.run import apply, operands
from npunet.train.optimise import SGD
from npunet.train.quantised_step import QuantisedStep

CASES = ["d1_plain", "d2_strides_mixed", "d1_softmax", "d2_softmax"]
AGREE = 1e-3  # of the largest gradient: sums of float32 in another order; 5e-5 was seen


@pytest.mark.parametrize(("low", "high", "zero_point"), [(-128, 127, -7), (-32768, 32767, 0), (-8, 7, 3)])
def test_the_operator_beside_pytorch(rng, low, high, zero_point):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x = rng.normal(0, 1, (2, 7, 11, 3)).astype(np.float32)
    dy = rng.normal(0, 1, x.shape).astype(np.float32)
    scale = float(np.float32(1.3 / (high - low)))
    given = {"scale": scale, "zero_point": zero_point, "low": low, "high": high}
    theirs = torch.tensor(x, requires_grad=True)
    y = torch.fake_quantize_per_tensor_affine(theirs, scale, zero_point, low, high)
    y.backward(torch.tensor(dy))
    np.testing.assert_allclose(fake_quantize_forward(x, **given), y.detach().numpy(), rtol=1e-6, atol=1e-7)
    (dx,) = fake_quantize_backward(dy, x, **given)
    np.testing.assert_array_equal(dx, theirs.grad.numpy())
    assert 0.1 < (dx == 0).mean() < 0.9, "nothing was clipped, or everything"


def test_the_operator_by_hand():
    given = {"scale": 0.5, "zero_point": 1, "low": -2, "high": 3}
    x = np.array([-9.0, -1.75, -1.74, -1.25, -0.25, 0.24, 0.25, 0.75, 1.2, 1.25, 9.0])  # ties away from zero
    np.testing.assert_array_equal(fake_quantize_forward(x, **given), [-1.5, -1.5, -1.5, -1.5, -0.5, 0, 0.5, 1, 1, 1, 1])
    np.testing.assert_array_equal(fake_quantize_backward(np.ones(11), x, **given)[0], [0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0])
    np.testing.assert_array_equal(fake_quantize_forward(fake_quantize_forward(x, **given), **given),
                                  fake_quantize_forward(x, **given))


def test_gradients_of_folding_are_those_of_its_differences(rng):
    """Central differences of a random covector on the folded weights, in float64."""
    model = float_model("d1_plain")
    weights = {name: value.astype(np.float64) for name, value in model.weights.items()}
    graph = model.graph
    deployed, folded = deploy(graph, weights)
    covector = {name: rng.normal(size=value.shape) for name, value in folded.items()}
    gradients = deploy_backward(graph, weights, deployed, covector)
    assert set(gradients) == set(model.trainable)

    def value(changed):
        return sum((array * covector[name]).sum() for name, array in deploy(graph, changed)[1].items())

    for name in model.trainable:
        at = tuple(int(rng.integers(extent)) for extent in weights[name].shape)
        ends = []
        for change in (1e-6, -1e-6):
            moved = weights[name].copy()
            moved[at] += change
            ends.append(value({**weights, name: moved}))
        assert gradients[name][at] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5, abs=1e-7), name


@pytest.mark.parametrize("scheme", ["int8", "int16x8"])
@pytest.mark.parametrize("case", CASES)
def test_the_float_network_rounds_as_the_integers_do(case, scheme):
    """Operator by operator: fed with the integers' values it gives the operator's integers, but for those that the
    rounding of the multiplier (16 bits in int16x8), of a sum's two addends and of the bias move by one."""
    model, x = float_model(case), calibration(case)
    made = quantize(model, x, scheme)
    images = x.reshape(len(x), *(1,) * (4 - x.ndim), *x.shape[1:])
    plan = make_plan(model.graph, model.weights, x.ndim - 2)
    ranges = calibrate(plan, images, "minmax", LEVELS[scheme])
    graph = fake_quantized(plan, settle(plan, ranges, scheme), scheme)
    weights = {name: value.astype(np.float64) for name, value in fake_quantized_weights(plan).items()}
    whole = integer_run.forward(made.network, made.quantize_input(images))
    trace, seen = {graph.input: images.astype(np.float64)}, set()
    for node in graph:
        trace[node.name], _ = apply(node, operands(node, trace, weights), "any")
        name = node.name.removesuffix(SUFFIX)
        if node.op != "fake_quantize":
            continue
        tensor = made.network.tensors[name]
        assert (node.attrs["scale"], node.attrs["zero_point"]) == (tensor.scale, tensor.zero_point), name
        integers = tensor.scale * (whole[name].astype(np.float64) - tensor.zero_point)
        off = np.abs(trace[node.name] - integers) / tensor.scale
        leaky = name != graph.input and graph[node.inputs[0]].op == "leaky_relu"
        share = 0.3 if scheme == "int16x8" or leaky else 0.02                # D rounds a leaky ReLU of 8 bits twice
        assert off.max() < 1.5 and (off > 0.5).mean() < share, f"{name}: {off.max()}"
        trace[node.name] = integers
        seen.add(name)
    copies = {name for name in made.network.tensors if name in {step.name for step in plan if step.node.op in COPYING}}
    assert seen | copies | {"softmax"} >= set(made.network.tensors)


def torch_forward(torch, model, made, weights, x):
    """The integer network's description as a PyTorch network of fake quantisation: its nodes, scales, zero points."""
    low, high = next(iter(made.network.tensors.values())).limits
    functional = torch.nn.functional

    def rounded(y, tensor):
        return torch.fake_quantize_per_tensor_affine(y, tensor.scale, tensor.zero_point, low, high)

    def padded(y, pads, value=0.0):
        (top, bottom), (left, right) = pads
        return functional.pad(y, (left, right, top, bottom), value=value)

    def convolution(node, y):
        conv, *others = node.layers
        depthwise = node.op == "depthwise_conv2d"
        layer = conv.removesuffix("/depthwise")
        names = list(model.graph[layer].weights)
        kernel = weights[names[0] if depthwise or model.graph[layer].op == "conv2d" else names[1]]
        biases = [] if depthwise else [name for name in names if name.endswith("/bias")]
        bias = weights[biases[0]] if biases else torch.zeros(())
        norm = next((other for other in others if model.graph[other].op == "batch_norm_inference"), None)
        if norm is not None:
            gamma, beta, mean, variance = (weights[name] for name in model.graph[norm].weights)
            inverse = gamma / torch.sqrt(variance + model.graph[norm].attrs["eps"])
            kernel, bias = kernel * inverse, beta + (bias - mean) * inverse
        KH, KW, C, M = kernel.shape
        w = kernel.reshape(KH, KW, 1, C * M) if depthwise else kernel
        scales = (w.detach().abs().amax((0, 1, 2)).clamp(min=5e-7) / 127).float()
        w = torch.fake_quantize_per_channel_affine(w, scales, torch.zeros(len(scales), dtype=torch.int32), 3, -127, 127)
        attrs = node.attrs
        y = functional.conv2d(padded(y, attrs["pads"]), w.permute(3, 2, 0, 1), stride=attrs["stride"],
                              dilation=attrs["dilation"], groups=C if depthwise else 1)
        y = y + bias.reshape(-1, 1, 1)
        clamps = {"relu": functional.relu, "relu6": functional.relu6}
        for other in others:
            y = clamps.get(model.graph[other].op, lambda z: z)(y)
        return y

    trace = {made.network.input: rounded(x.permute(0, 3, 1, 2), made.network.tensors[made.network.input])}
    for node in made.network:
        ys, tensor = [trace[name] for name in node.inputs], made.network.tensors[node.name]
        if node.op in ("conv2d", "depthwise_conv2d"):
            y = rounded(convolution(node, *ys), tensor)
        elif node.op == "add":
            y = rounded(ys[0] + ys[1], tensor)
        elif node.op == "rescale":
            y = rounded(ys[0], tensor)
        elif node.op == "leaky_relu":
            y = rounded(functional.leaky_relu(ys[0], float(np.float32(node.attrs["slope"]))), tensor)
        elif node.op == "concat":
            y = torch.cat(ys, 1)
        elif node.op == "max_pool2d":
            y = functional.max_pool2d(padded(ys[0], node.attrs["pads"], -1e9), node.attrs["window"],
                                      node.attrs["stride"])
        elif node.op == "upsample_nearest2d":
            y = ys[0].repeat_interleave(node.attrs["factor"][0], 2).repeat_interleave(node.attrs["factor"][1], 3)
        else:
            assert node.op in ("softmax", "softmax16"), node.op
            y = functional.softmax(ys[0], 1)
        trace[node.name] = y
    return trace[made.network.output].permute(0, 2, 3, 1)


@pytest.mark.parametrize("scheme", ["int8", "int16x8"])
@pytest.mark.parametrize("case", CASES)
def test_gradients_beside_pytorch(case, scheme, rng):
    """Every trained weight's gradient, on inputs that go beyond the calibrated ranges, so that much is clipped."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    model, x = float_model(case), 1.5 * calibration(case)[8:11]
    made = quantize(model, calibration(case)[:8], scheme)
    step = QuantisedStep(model, SGD(), "mean_squared_error", l2=False, calibration=calibration(case)[:8], scheme=scheme)
    targets = rng.normal(size=(len(x), *made.output_shape)).astype(np.float32)
    loss, gradients = step.gradients(x, targets)
    weights = {name: torch.tensor(np.array(value), requires_grad=name in model.trainable)
               for name, value in model.weights.items()}
    images = torch.tensor(x.reshape(len(x), *(1,) * (4 - x.ndim), *x.shape[1:]))
    y = torch_forward(torch, model, made, weights, images)
    theirs = ((y - torch.tensor(targets).reshape(y.shape)) ** 2).mean()
    theirs.backward()
    assert loss == pytest.approx(float(theirs.detach()), rel=1e-5)
    assert set(gradients) == set(model.trainable)
    for name, gradient in gradients.items():
        other = weights[name].grad.numpy()
        largest = max(float(np.abs(other).max()), 1e-3)
        assert np.abs(gradient - other).max() <= AGREE * largest, name
        assert np.abs(other).max() > 0 or "depthwise" in name, name
