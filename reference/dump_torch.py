"""Every layer of a golden bundle's network as PyTorch computes it in float32 (torch_twin), for `npunet verify`.

    npunet golden MODEL --level trained -o BUNDLE
    python reference/dump_torch.py BUNDLE OUT.npz
    npunet verify BUNDLE OUT.npz --bounded
"""

from __future__ import annotations

import sys

import numpy as np
import torch
import torch_twin

from npunet import UNet
from npunet.golden import Bundle


def dump(folder: str, case: str | None = None) -> dict[str, np.ndarray]:
    """Outputs by layer name, (N, H, W, C), of the first network case of a bundle of level "trained"."""
    bundle = Bundle(folder)
    if bundle.manifest["profile"]["level"] != "trained":
        raise SystemExit("the PyTorch network is the trained one: make the bundle with --level trained")
    case = case or next(key for key, found in bundle.cases.items() if found["scope"] == "network")
    model = UNet.load(bundle.root / bundle.manifest["model"]["file"])
    torch.set_num_threads(1)
    twin = torch_twin.Twin(model.params.to_dict(), model.weights, {}, torch.float32)
    with torch.no_grad():
        twin.forward(torch.tensor(bundle.tensor(case, "in").copy()), False)
    known = {layer["name"] for layer in bundle.layers.values()}
    return {name: value.numpy().transpose(0, 2, 3, 1) for name, value in twin.trace.items() if name in known}


if __name__ == "__main__":
    np.savez(sys.argv[2], **dump(sys.argv[1]))
