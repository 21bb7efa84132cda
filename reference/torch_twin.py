"""The same network written a second time, in PyTorch, from its description alone: nothing here has seen Keras.

It works on (B, C, H, W), pads by its own arithmetic, and takes its gradients from autograd, so that an error has to be
made twice to pass. Results have the keys of keras_run.run, so that comparing is a loop over keys.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional

EPSILON, KEEP, DECAY = 1e-3, 0.99, 1e-3
LEAK = float(np.float32(0.2))  # the reference's slope is a float32 in every dtype
LEARNING_RATE, MOMENTUM, STEPS = 0.01, 0.9, 3
ACTIVATIONS = {
    "relu": torch.relu,
    "relu6": functional.relu6,
    "leaky_relu": lambda x: functional.leaky_relu(x, LEAK),
    "elu": functional.elu,
    "selu": functional.selu,
}


def pair(value) -> tuple[int, int]:
    """Height and width of an int or a pair."""
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def pad_same(x: torch.Tensor, window, stride, dilation, value: float) -> torch.Tensor:
    """Grow H and W so that a window every `stride` cells has ceil(size / stride) places; the odd cell at the end."""
    borders = []
    for axis in (1, 0):  # torch lists borders from the last axis on
        size, k, s, d = x.shape[2 + axis], window[axis], stride[axis], dilation[axis]
        last_cell = (math.ceil(size / s) - 1) * s + (k - 1) * d  # the last cell that the last window touches
        missing = max(last_cell + 1 - size, 0)
        borders += [missing // 2, (missing + 1) // 2]
    return functional.pad(x, borders, value=value)


class Twin:
    """The network as a walk over its description; holds weights by name and notes every activation on the way."""

    def __init__(self, params: dict, weights: dict[str, np.ndarray], masks: dict[str, np.ndarray], dtype=torch.float64):
        self.params, self.dtype = params, dtype
        self.weights = {name: torch.tensor(np.asarray(w), dtype=dtype) for name, w in weights.items()}
        self.masks = {name: torch.tensor(mask, dtype=dtype).permute(0, 3, 1, 2) for name, mask in masks.items()}
        self.trainable = [name for name in weights if "/moving_" not in name]
        for name in self.trainable:
            self.weights[name].requires_grad_(True)

    def note(self, name: str, x: torch.Tensor) -> torch.Tensor:
        self.trace[name] = x
        return x

    def convolve(self, x, name, kernel=(1, 1), dilation=(1, 1)):
        """Plain or separable, whichever weights are there; one bias at the end, where there is one."""
        x, filters = pad_same(x, kernel, (1, 1), dilation, 0.0), self.weights.get(f"{name}/kernel")
        if filters is None:
            grid = self.weights[f"{name}/depthwise_kernel"].permute(2, 3, 0, 1).contiguous()  # (C, 1, KH, KW)
            x = functional.conv2d(x, grid, dilation=dilation, groups=x.shape[1])
            filters, dilation = self.weights[f"{name}/pointwise_kernel"], (1, 1)
        filters = filters.permute(3, 2, 0, 1).contiguous()  # (F, C, KH, KW)
        return self.note(name, functional.conv2d(x, filters, self.weights.get(f"{name}/bias"), dilation=dilation))

    def layer_norm(self, x, name):
        """Over H and W of every sample and channel, with a gain and an offset for every position."""
        centred = x - x.mean((2, 3), keepdim=True)
        scaled = centred / torch.sqrt((centred**2).mean((2, 3), keepdim=True) + EPSILON)
        return self.note(name, scaled * self.weights[f"{name}/gamma"] + self.weights[f"{name}/beta"])

    def batch_norm(self, x, name):
        """Over B, H and W; in training by the batch's own mean and biased variance, which also move the kept ones."""
        mean, variance = self.weights[f"{name}/moving_mean"], self.weights[f"{name}/moving_variance"]
        if self.training:
            kept, (mean, variance) = (mean, variance), (x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False))
            self.statistics[f"{name}/moving_mean"] = KEEP * kept[0] + (1 - KEEP) * mean.detach()
            self.statistics[f"{name}/moving_variance"] = KEEP * kept[1] + (1 - KEEP) * variance.detach()
        gain = self.weights[f"{name}/gamma"] / torch.sqrt(variance + EPSILON)
        shift = self.weights[f"{name}/beta"] - mean * gain
        return self.note(name, x * gain[:, None, None] + shift[:, None, None])

    def unit(self, x, name, block, kernel=(1, 1), dilation=(1, 1)):
        """Convolution, normalisation, activation."""
        x = self.convolve(x, f"{name}_conv", kernel, dilation)
        if block.get("norm", "batch") == "batch":
            x = self.batch_norm(x, f"{name}.bn")
        elif block["norm"] == "layer":
            x = self.layer_norm(x, f"{name}.ln")
        return self.note(f"{name}_act", ACTIVATIONS[block.get("activation", "relu6")](x))

    def encode(self, x, name, block):
        """One encoder block; returns what the skip carries, and the dilation of its last convolution."""
        main, base = x, pair(block.get("dilation") or 1)
        for level in range(block.get("depth", 1)):
            dilation = (base[0] ** level, base[1] ** level)
            main = self.unit(main, f"{name}_D{level + 1}", block, pair(block.get("kernel", 3)), dilation)
        side = self.convolve(x, f"{name}_skip")
        if block.get("dropout") is not None:
            earlier = sum(noted.startswith("dropout") for noted in self.trace)
            layer = f"dropout_{earlier}" if earlier else "dropout"  # Keras' counter names it
            main = self.note(layer, main * self.masks[layer] / (1 - block["dropout"]) if self.training else main)
        return self.note(f"{name}_add", main + side), dilation

    def pool(self, x, name, block):
        window, stride = pair(block.get("pool", 3)), pair(block.get("strides", 1))
        return self.note(name, functional.max_pool2d(pad_same(x, window, stride, (1, 1), -math.inf), window, stride))

    def decode(self, x, name, block, skip, dilation):
        depth, kernel = block.get("depth", 1), pair(block.get("kernel", 3))
        rounds = block.get("ddepth") or depth
        for level in range(rounds):
            x = self.unit(x, f"{name}_D{level + 1}", block, kernel, dilation)
        rows, columns = pair(block.get("strides", 1))
        x = x.repeat_interleave(rows, dim=2).repeat_interleave(columns, dim=3)
        x = self.note(f"{name}_D{rounds}_unpool", x)
        if block.get("skip", True):
            x = self.note(f"{name}_D{depth + 1}_cat", torch.cat([x, skip], dim=1))
            x = self.unit(x, f"{name}_D{depth + 1}", block)
        main = self.unit(x, f"{name}_D{depth + 2}", block, kernel)
        return self.note(f"{name}_add", main + self.convolve(x, f"{name}_skip"))

    def forward(self, x: torch.Tensor, training: bool) -> torch.Tensor:
        """x : (B, L, C) or (B, H, W, C); the same layout comes back. Leaves self.trace and self.statistics."""
        self.training, self.trace, self.statistics = training, {}, {}
        flat = x.dim() == 3
        x = (x[:, None] if flat else x).permute(0, 3, 1, 2)
        blocks, kept, dilation = self.params["blocks"], [], (1, 1)
        for number, block in enumerate(blocks, 1):
            x, dilation = self.encode(x, f"ENC{number}", block)
            kept.append(x)
            x = self.pool(x, f"ENC{number}_pool", block)
        for number, block in enumerate(reversed(blocks), 1):
            x = self.decode(x, f"DEC{number}", block, kept[-number], dilation)
        if self.params.get("include_top", True):
            x = self.convolve(x, "NECK_conv", pair(self.params.get("output_kernel_size", 3)))
            if not self.params.get("use_logits", True):
                x = self.note("softmax", torch.softmax(x, dim=1))
        x = x.permute(0, 2, 3, 1)
        return x[:, 0] if flat else x

    def loss(self, y: torch.Tensor, labels: torch.Tensor, kind: str) -> torch.Tensor:
        """Mean over every position (and channel, for the squared error)."""
        if kind == "mean_squared_error":
            return ((y - labels) ** 2).mean()
        if "softmax" in self.trace:
            return functional.nll_loss(torch.log(y.clamp(1e-7, 1 - 1e-7)).flatten(0, -2), labels.flatten())
        return functional.cross_entropy(y.flatten(0, -2), labels.flatten())

    def l2(self) -> torch.Tensor:
        return DECAY * sum((w**2).sum() for name, w in self.weights.items() if name.endswith("kernel"))


def run(description: dict, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Everything that keras_run.run gives in float64, from the stored weights, input, labels and masks."""
    found: dict[str, np.ndarray] = {}
    weights = {name: arrays[f"weights/{name}"] for name in description["weights"]}
    masks = {key[5:]: value for key, value in arrays.items() if key.startswith("mask/")}
    labels = torch.tensor(arrays["labels"])
    labels = labels.double() if labels.is_floating_point() else labels.long()
    for mode in ("inference", "training"):
        twin = Twin(description["params"], weights, masks)
        x = torch.tensor(arrays["x"], dtype=torch.float64, requires_grad=True)
        y = twin.forward(x, mode == "training")
        loss, l2 = twin.loss(y, labels, description["loss"]), twin.l2()
        trained = [twin.weights[name] for name in twin.trainable]
        results = {"y": y, "loss": loss, "l2": l2}
        *plain, results["dx"] = torch.autograd.grad(loss, [*trained, x], retain_graph=True)
        results |= {f"grad/{name}": g for name, g in zip(twin.trainable, plain, strict=True)}
        decayed = torch.autograd.grad(loss + l2, trained)
        results |= {f"grad_l2/{name}": g for name, g in zip(twin.trainable, decayed, strict=True)}
        results |= {f"stat/{name}": value for name, value in twin.statistics.items()}
        results |= {f"trace/{name}": value.permute(0, 2, 3, 1) for name, value in twin.trace.items()}
        found |= {f"{mode}/float64/{key}": value.detach().numpy() for key, value in results.items()}
    twin = Twin(description["params"], weights, masks)
    optimiser = torch.optim.SGD([twin.weights[n] for n in twin.trainable], lr=LEARNING_RATE, momentum=MOMENTUM)
    for _ in range(STEPS):
        optimiser.zero_grad()
        (twin.loss(twin.forward(x.detach(), True), labels, description["loss"]) + twin.l2()).backward()
        optimiser.step()
        twin.weights |= twin.statistics
    return found | {f"sgd/float64/{name}": value.detach().numpy() for name, value in twin.weights.items()}
