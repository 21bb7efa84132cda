"""Bundles of integer networks: the generated C gives IntegerModel.trace's integers, and every file says the same."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from integer_judges import CASES, SCHEMES, float_model, integers
from integer_ports import integer_network, make_bundle, needs_compiler, run_port

from npunet import IntegerModel, pretrained
from npunet.cli import main
from npunet.golden import golden
from npunet.golden.integer import cgen
from npunet.golden.integer.bundle import golden_integer
from npunet.golden.integer.cases import NETWORK_CASES
from npunet.golden.integer.reader import IntegerBundle
from npunet.golden.integer.stages import stages
from npunet.integer.network import Network, Node, Tensor

# Between them every operator, in both schemes and profiles.
NETWORKS = (("d1_layer_norm", "int8", "S"), ("d2_activations", "int16x8", "D"), ("d2_softmax", "int8", "D"),
            ("d1_softmax", "int16x8", "S"))
EVERY = tuple((name, scheme, rounding) for name in CASES for scheme in SCHEMES for rounding in "DS")
CHECKED = EVERY if os.environ.get("NPUNET_THOROUGH") else NETWORKS
LEVELS = ("-O0", "-O2", "-O3")
SANITIZED = ("-O1", "-fsanitize=undefined,address", "-fno-sanitize-recover=all")
EVERY_BUILD = tuple((compiler, *flags) for compiler in ("gcc", "clang") for flags in (*((level,) for level in LEVELS),
                                                                                      SANITIZED))


def assert_equal(model, bundle, out):
    """Every tensor of every case of a port; returns how many values were compared."""
    count, golden = 0, IntegerBundle(bundle)
    for case in golden.cases.values():
        trace = {}
        if case["scope"] == "network":
            trace = model.trace(golden.tensor(case["id"], "in").reshape(-1, *model.input_shape))
        for layer in golden.layers.values() if trace else [golden.layers[case["id"]]]:
            got = np.fromfile(out / case["id"] / f"{layer['id']}.out.bin", layer["dtype"])
            want = trace[layer["name"]] if trace else golden.run_layer(layer["id"], golden.inputs(
                case["id"], layer["id"])).out
            np.testing.assert_array_equal(got, want.ravel(), layer["id"])
            for role, kind in (("acc", layer["accumulator"]), ("pre", layer["before_clamp"])):
                if kind is not None:
                    wide = np.fromfile(out / case["id"] / f"{layer['id']}.{role}.bin", kind)
                    np.testing.assert_array_equal(wide, golden.tensor(case["id"], f"{layer['id']}.{role}").ravel())
                    count += wide.size
            count += got.size
    return count


def assert_builds_equal(model, bundle, tmp_path, builds, least):
    """The first build's numbers are the network's, and every other one writes the same bytes."""
    first = None
    for number, (compiler, *flags) in enumerate(builds):
        if shutil.which(compiler) is None:
            continue
        work = tmp_path / f"w{number}"
        work.mkdir()
        out = run_port(bundle, work, flags=flags, compiler=compiler)
        written = {path.relative_to(out): path.read_bytes() for path in out.rglob("*.bin")}
        if first is None:
            assert assert_equal(model, bundle, out) > least
        assert written == (first or written), (compiler, *flags)
        first = written
        shutil.rmtree(work)


@pytest.mark.parametrize("number, name, scheme, rounding", [(k, *each) for k, each in enumerate(CHECKED)])
def test_the_generated_c_computes_the_same_integers(number, name, scheme, rounding, tmp_path):
    """Thoroughly every stored network by every compiler and level that there is, else each by one of them."""
    needs_compiler()
    model = integer_network(name, scheme, rounding)
    bundle = make_bundle(model, tmp_path / "b", formats=("bin", "c"), cases=("random", "minimum", "impulse"))
    builds = EVERY_BUILD if os.environ.get("NPUNET_THOROUGH") else [EVERY_BUILD[(2 * number + 1) % 4]]
    assert_builds_equal(model, bundle, tmp_path, builds, 100)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_shipped_ecg_network_in_c(scheme, tmp_path):
    needs_compiler()
    model = pretrained.quantized("ecg-trained", scheme)
    bundle = make_bundle(model, tmp_path / "b", formats=("bin", "c"), cases=("signal",))
    assert assert_equal(model, bundle, run_port(bundle, tmp_path, flags=("-O2",))) > 200_000
    if os.environ.get("NPUNET_THOROUGH"):
        assert_builds_equal(model, bundle, tmp_path, EVERY_BUILD, 200_000)
    told = subprocess.run([tmp_path / "net_dump", "--sizes"], capture_output=True, text=True, timeout=10).stdout
    used = cgen.memory(model.network)
    assert f"flash {used['flash']} bytes" in told and f"ram {used['ram']} bytes" in told
    assert used["flash"] < 60_000 and used["ram"] < 40_000


def test_mean_and_three_inputs_in_c(rng, tmp_path):
    """Operators that no UNet draws: a mean whose border counts less, a concat of three."""
    needs_compiler()
    scale, limits = 0.5, {"act_min": -100, "act_max": 90}
    shapes = {"x": (5, 7, 2), "mean": (3, 4, 2), "all": (3, 4, 6)}
    tensors = {name: Tensor(name, shape, "int8", scale, 3) for name, shape in shapes.items()}
    mean = Node("mean", "avg_pool2d", ("x",), {"window": (3, 3), "stride": (2, 2), "pads": ((1, 1), (1, 1)),
                                               "padding": "same", **limits})
    network = Network("int8", "D", "x", "all", tensors, (mean, Node("all", "concat", ("mean",) * 3)), (5, 7, 2),
                      (3, 4, 6))
    model = IntegerModel(network)
    bundle = make_bundle(model, tmp_path / "b", formats=("bin", "c"))
    assert_equal(model, bundle, run_port(bundle, tmp_path))


@pytest.mark.parametrize("name, scheme, rounding", NETWORKS)
def test_the_c_has_no_float_and_no_64_bit_division(name, scheme, rounding):
    text = cgen.sources(integer_network(name, scheme, rounding).network, "t")["net.c"]
    code = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    assert not re.search(r"\b(float|double|malloc|math\.h)\b", code)
    for left, right in re.findall(r"([\w\]\)>-]+)\s*[/%]\s*(\w+)", code):
        assert (left, right) in {("f", "each"), ("c", "c"), ("s->f", "s"), ("i", "fy"), ("j", "fx"), ("count", "2"),
                                 (")", "count")}, f"{left} / {right}"


def test_accumulator_clamp_and_output_belong_together(rng):
    model = integer_network("d2_activations")
    x = integers(model, 2, rng)
    values = {model.network.input: model.admit(x)[1]}
    for node in model.network:
        made = stages(node, [values[name] for name in node.inputs], model.network)
        values[node.name] = made.out
        if made.pre is not None:
            np.testing.assert_array_equal(np.clip(made.pre, node.attrs["act_min"], node.attrs["act_max"]), made.out)
    assert any(stages(node, [values[n] for n in node.inputs], model.network).acc is not None for node in model.network)


def test_every_file_of_a_bundle(tmp_path):
    model = integer_network("d1_ecg_small")
    manifest = golden_integer(model, tmp_path / "b")
    root = tmp_path / "b"
    assert json.loads((root / "manifest.json").read_text()) == json.loads(json.dumps(manifest))
    case = manifest["cases"][0]["id"]
    assert [each["kind"] for each in manifest["cases"][:6]] == list(NETWORK_CASES)
    assert {each["id"] for each in manifest["cases"][6:]} == {layer["id"] for layer in manifest["layers"]}
    with np.load(root / "npz" / f"{case}.npz") as ends:
        np.testing.assert_array_equal(model.predict(ends["input_0"]), ends["output_0"])
    for each in (manifest["cases"][0], manifest["cases"][6]):
        case = each["id"]
        with np.load(root / each["folder"] / "tensors.npz") as archive:
            stored = dict(archive)
        for record in manifest["tensors"]:
            if record["case"] == case:
                raw = (root / record["files"]["bin"]).read_bytes()
                assert raw == stored[record["key"]].tobytes() and len(raw) == record["bytes"]
                words = (root / "hex" / case / f"{record['key']}.mem").read_text().split("row-major\n")[1].split()
                bits = 8 * stored[record["key"]].itemsize
                values = stored[record["key"]].ravel().tolist()
                assert [int(word, 16) for word in words] == [value % 2**bits for value in values]
    zeros = IntegerBundle(root).tensor("case01_zeros", "in")
    assert (zeros == model.input_qparams[1]).all()
    layer = next(each for each in manifest["layers"] if each["operator"] == "conv2d")
    node = model.network[layer["name"]]
    assert layer["per_channel"]["multiplier"] == node.arrays["multiplier"].tolist()
    assert layer["per_channel"]["shift"] == node.arrays["shift"].tolist()
    assert layer["attributes"]["input_offset"] == -layer["input_quantisation"][0]["zero_point"]
    assert manifest["profile"]["requant"] == "D" and "mask" in manifest["profile"]["requant_rule"]
    text = (root / "README.txt").read_text()
    assert "requantize(x, m, s) = x * m * 2^(s - 31), profile D" in text and "conv2d" in text


def test_a_bundle_is_the_same_bytes_and_replaces_only_bundles(tmp_path):
    model = integer_network("d1_ecg_small")
    for name in ("a", "b", "a"):
        golden_integer(model, tmp_path / name, kinds=("random",))
    assert (tmp_path / "a" / "SHA256SUMS").read_text() == (tmp_path / "b" / "SHA256SUMS").read_text()
    (tmp_path / "a" / "c" / "net.c").write_text("mine")
    with pytest.raises(FileExistsError, match=r"c/net\.c, which was changed"):
        golden_integer(model, tmp_path / "a", kinds=("random",))


def test_cmsis_headers_compile(tmp_path):
    needs_compiler()
    model = integer_network("d1_ecg_small")
    bundle = make_bundle(model, tmp_path / "b", cases=("random",))
    node = next(node for node in model.network if node.op == "conv2d")
    stem = f"golden_{cgen.c_names(model.network)[node.name]}"
    (tmp_path / "use.c").write_text(
        '#include <stdio.h>\n#include "golden_layers.h"\n#include "golden_case00_random.h"\n'
        f'int main(void) {{ printf("%d %d %d", (int){stem}_params.input_offset, (int){stem}_params.activation.max,\n'
        f"(int){stem}_quant.multiplier[1]); return 0; }}\n")
    subprocess.run(["gcc", "-std=c99", "-Wall", "-Wextra", "-Wno-unused-const-variable", "-Werror",
                    f"-I{bundle / 'c'}", str(tmp_path / "use.c"), "-o", str(tmp_path / "use")], check=True, timeout=60)
    told = subprocess.run([tmp_path / "use"], capture_output=True, text=True, timeout=10).stdout
    assert told == f"{node.attrs['input_offset']} {node.attrs['act_max']} {node.arrays['multiplier'][1]}"


def test_what_is_refused(tmp_path, capsys):
    model = integer_network("d1_ecg_small")
    with pytest.raises(ValueError, match=r"is a float network; npunet\.quantize makes an integer one"):
        golden_integer(float_model("d1_ecg_small"), tmp_path / "b")
    with pytest.raises(ValueError, match="there is no case 'saturate'; choose from random"):
        golden_integer(model, tmp_path / "b", kinds=("saturate",))
    with pytest.raises(ValueError, match="more than max_size"):
        golden_integer(model, tmp_path / "b", max_size=1000)
    with pytest.raises(ValueError, match="own"):
        golden_integer(model, tmp_path / "b", inputs=np.zeros((1, 96, 1), "int8"))
    node = next(node for node in model.network if node.op == "rescale" or node.op == "add")
    key = "output_shift" if node.op == "add" else "shift"
    changed = replace(node, attrs={**node.attrs, key: 31})
    nodes = tuple(changed if each is node else each for each in model.network)
    with pytest.raises(ValueError, match=f"{node.name}: its left shift of 31"):
        cgen.sources(replace(model.network, nodes=nodes), "t")
    assert not (tmp_path / "b").exists()
    model.save(tmp_path / "m.npz")
    for option in ({"bounds": True}, {"arithmetic": "seq"}, {"size": (64,)}):
        with pytest.raises(ValueError, match=f"--{next(iter(option))} is for float networks"):
            golden(tmp_path / "m.npz", tmp_path / "b", **option)
    assert main(["golden", str(tmp_path / "m.npz"), "-o", str(tmp_path / "b"), "--bounds"]) == 2
    assert "--bounds is for float networks" in capsys.readouterr().err
    assert main(["golden", str(tmp_path / "m.npz"), "-o", str(tmp_path / "b")]) == 0
    assert "flash" in capsys.readouterr().out
    assert set(CASES) >= {name for name, _, _ in NETWORKS}


QUICK = (("gcc", "-O3"), ("clang", "-O2"), ("clang", *SANITIZED))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_compilers_and_levels_give_the_vectors_integers(scheme, tmp_path):
    """Every tensor of every case is the same bytes in the bundle and in what each program writes."""
    model = integer_network("d1_softmax", scheme)
    bundle = make_bundle(model, tmp_path / "b", formats=("bin", "c"), cases=("random", "minimum", "layers"))
    if not any(shutil.which(compiler) for compiler, *_ in QUICK):
        pytest.skip("there is no compiler")
    builds = EVERY_BUILD if os.environ.get("NPUNET_THOROUGH") else QUICK
    assert_builds_equal(model, bundle, tmp_path, builds, 1000)


FORBIDDEN = re.compile(r"div|mod|aeabi_[fd]|i2[fd]|[fd]2|float|malloc|__(add|sub|mul|div|fix|float)[sdt]")
DIVISION_OF_64, FLOAT = re.compile(r"\b(i?divq)\b"), re.compile(r"\b(v?(mul|add|sub|div)[sp][sd]|v?cvt\w+)\b")


@pytest.mark.parametrize("name, scheme, rounding", NETWORKS)
def test_the_object_needs_nothing_but_copies_and_has_no_float(name, scheme, rounding, tmp_path):
    """On a Cortex-M every 64-bit division and every float is a call; on x86-64 they are instructions."""
    needs_compiler()
    for file, text in cgen.sources(integer_network(name, scheme, rounding).network, "t").items():
        (tmp_path / file).write_text(text)
    subprocess.run(["gcc", "-std=c99", "-O2", "-c", str(tmp_path / "net.c"), "-o", str(tmp_path / "x86.o")], check=True,
                   timeout=100)
    undefined = subprocess.run(["nm", "-u", tmp_path / "x86.o"], capture_output=True, text=True, timeout=20).stdout
    assert set(undefined.split()) <= {"U", "memcpy", "memset", "__stack_chk_fail", "_GLOBAL_OFFSET_TABLE_"}
    code = subprocess.run(["objdump", "-d", tmp_path / "x86.o"], capture_output=True, text=True, timeout=20).stdout
    assert "<net_run>" in code and not DIVISION_OF_64.search(code) and not FLOAT.search(code)
    if shutil.which("arm-none-eabi-gcc"):
        arm = ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=soft"]
    elif shutil.which("clang"):
        (tmp_path / "string.h").write_text("#include <stddef.h>\nvoid *memcpy(void *, const void *, size_t);\n")
        arm = ["clang", "--target=thumbv7em-none-eabi", "-mfloat-abi=soft", "-ffreestanding"]
    else:
        pytest.skip("there is no compiler for a Cortex-M")
    (tmp_path / "wrong.c").write_text("long long f(long long a, long long b) { return a / b; }\n"
                                      "double g(double a) { return a * 3; }\n")
    called = {}
    for name in ("net", "wrong"):
        subprocess.run([*arm, "-std=c99", "-O2", f"-I{tmp_path}", "-c", str(tmp_path / f"{name}.c"), "-o",
                        str(tmp_path / f"{name}.o")], check=True, timeout=100)
        symbols = subprocess.run(["nm", "-u", tmp_path / f"{name}.o"], capture_output=True, text=True,
                                 timeout=20).stdout
        called[name] = {each for each in symbols.split() if FORBIDDEN.search(each)}
    assert len(called["wrong"]) == 2 and called["net"] == set(), called
