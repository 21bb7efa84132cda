"""npunet golden from its arguments to its folder."""

import numpy as np
import pytest

from npunet import UNet, cli
from npunet.cli.golden import show
from npunet.golden import Bundle


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_preset_with_defaults(capsys):
    assert cli.main(["golden", "tiny"]) == 0
    said = capsys.readouterr().out
    bundle = Bundle("golden")
    assert "run at  1x32x1 (H x W x C), 31 layers, level deploy, seq_fma" in said
    assert "cases   network: random, zeros, impulse, saturate, ties; single layers: 25" in said
    assert bundle.manifest["profile"]["fma"] is True and bundle.manifest["formats"] == ["npz", "bin", "c", "hex"]


def test_every_option_reaches_the_bundle(capsys):
    block = {"filters": 2, "kernel": [1, 3], "strides": [1, 2], "pool": [1, 2]}
    UNet({"blocks": [block], "output_kernel_size": [1, 3]}, (None, 1), 3, seed=2).save("model.npz")
    np.save("x.npy", np.linspace(-1, 1, 40, dtype="f4").reshape(2, 20, 1)[:, :19])
    assert cli.main(["golden", "model.npz", "--input", "x.npy", "-o", "out", "--level", "trained",
                     "--arithmetic", "seq", "--cases", "zeros", "--formats", "bin", "--backward", "--bounds",
                     "--max-size", "200K", "--layers", "ENC1_add,NECK_conv", "--seed", "9"]) == 0
    described = Bundle("out").manifest
    assert described["profile"]["level"] == "trained" and described["profile"]["float_order"] == "seq"
    assert described["model"]["input_shape"] == [1, 20, 1] and described["seed"] == 9
    padded = Bundle("out").tensor("case01_input", "in")
    assert padded.shape == (2, 1, 20, 1) and not padded[:, :, 19].any()       # so that the stride divides it
    assert described["backward"] and [case["kind"] for case in described["cases"][:2]] == ["zeros", "input"]
    assert any(record["role"] == "bound" for record in described["tensors"])
    assert "backward" in capsys.readouterr().out
    assert cli.main(["golden", "model.npz", "-o", "out", "--size", "24", "--cases", "zeros"]) == 0
    assert Bundle("out").manifest["model"]["input_shape"] == [1, 24, 1]


@pytest.mark.parametrize(("arguments", "message"), [
    (["--cases", "noise"], "there is no case 'noise'; choose from random"),
    (["--size", "big"], "'big' is no size; write 256, 64x48 or full"),
    (["--max-size", "much"], "'much' is no number of bytes"),
    (["--layers", "ENC9"], "there is no layer ENC9; the nearest of 31 are ENC"),
    (["--layers", ","], "argument --layers: ',' must be names with commas between them"),
    (["--cases", ""], "argument --cases: '' must be names"),
    (["--formats", ""], "argument --formats: '' must be names"),
    (["--size", "1" + 12 * "0"], "1000000000000 is too large: the tensors of one sample take"),
    (["--size", "-32"], "argument --size: -32 must be at least 1"),
    (["--max-size", "-1"], "argument --max-size: -1 must be at least one byte"),
    (["--seed", "-1"], "must not be negative"),
    (["--arithmetic", "any"], "invalid choice: 'any'"),
])
def test_a_mistake_is_one_line(arguments, message, capsys):
    assert cli.main(["golden", "tiny", *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1


def test_the_progress_bar_ends_clean(capsys):
    show(1, 4, "case00_random")
    show(4, 4, "done")
    err = capsys.readouterr().err
    assert "[=======                     ] 1/4 case00_random" in err and err.endswith("\r\033[K")
