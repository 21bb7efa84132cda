"""Right ports that sum in another order or precision pass layer by layer within the bounds, in every case."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from verify_cases import network

from npunet.golden import Bundle, golden
from npunet.verify import report, verify

needs_gcc = pytest.mark.skipif(not shutil.which("gcc"), reason="no gcc on this machine")
THOROUGH = bool(os.environ.get("NPUNET_THOROUGH"))
HAS_FMA = "fma" in (Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else "")
TERMS = "static float terms[1 << 16]; static int count;\n"

# name: (declarations, what begins a sum, what takes a product in, what ends it)
SUMS = {
    "float64": ("", "double acc = 0.0;", "acc += (double)(X) * (double)(W)", "(float)acc"),
    "long double": ("", "long double acc = 0.0L;", "acc += (long double)(X) * (long double)(W)", "(float)acc"),
    "Kahan": ("", "float acc = 0.0f, lost = 0.0f;", "{ const float term = (X) * (W) - lost, next = acc + term; "
              "lost = next - acc - term; acc = next; }", "acc"),
    "Neumaier": ("", "float acc = 0.0f, lost = 0.0f;", "{ const float term = (X) * (W), next = acc + term; "
                 "lost += fabsf(acc) >= fabsf(term) ? acc - next + term : term - next + acc; acc = next; }",
                 "(acc + lost)"),
    "four lanes": ("", "float lane[4] = {0}; int turn = 0;", "lane[turn++ % 4] += (X) * (W)",
                   "((lane[0] + lane[2]) + (lane[1] + lane[3]))"),
    "eight lanes": ("static float eight(const float *l)\n{ return ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + "
                    "(l[3] + l[7])); }\n", "float lane[8] = {0}; int turn = 0;", "lane[turn++ % 8] += (X) * (W)",
                    "eight(lane)"),
    "pairwise": (TERMS + "static float halves(const float *t, int n)\n{ return n < 1 ? 0.0f : n < 2 ? t[0] : "
                 "halves(t, n / 2) + halves(t + n / 2, n - n / 2); }\n", "count = 0;", "terms[count++] = (X) * (W)",
                 "halves(terms, count)"),
    "from the back": (TERMS + "static float back(void)\n{ float s = 0.0f; while (count) s += terms[--count]; "
                      "return s; }\n", "count = 0;", "terms[count++] = (X) * (W)", "back()"),
    "interleaved": (TERMS + "static float mixed(void)\n{ float s = 0.0f; for (int n = 0; n < count; n++) s += "
                    "terms[(int)(7919LL * n % count)]; return s; }\n", "count = 0;", "terms[count++] = (X) * (W)",
                    "mixed()"),
    "fused": ("", "float acc = 0.0f;", "acc = fmaf(X, W, acc)", "acc"),
    "not fused": ("", "float acc = 0.0f;", "acc = acc + (X) * (W)", "acc"),
}
FLAGS = {"as written": ["-O1", "-ffp-contract=off"], "contracted": ["-O3", "-ffp-contract=fast", "-mfma"],
         "fast-math": ["-O3", "-ffast-math", "-fno-finite-math-only"], "unsafe math": ["-O3", "-ffast-math"]}
ELSEWHERE = {
    "softmax by reciprocal": [("y[c] = y[c] / sum;", "y[c] = y[c] * (1.0f / sum);")],
    "library exponential": [("exp32(x[c] - largest)", "expf(x[c] - largest)"),
                            ("? x[n] : expm1_32(x[n])", "? x[n] : expm1f(x[n])")],
    "layer norm in float32": [("double sum = 0.0, squares = 0.0;", "float sum = 0.0f, squares = 0.0f;"),
                              ("sum = sum + (double)x[p * channels + c];", "sum = sum + x[p * channels + c];"),
                              ("const double mean = sum / positions;", "const float mean = sum / (float)positions;"),
                              ("const double off = (double)x[p * channels + c] - mean;",
                               "const float off = x[p * channels + c] - mean;"),
                              ("const double square = off * off;", "const float square = off * off;"),
                              ("const double variance = squares / positions;",
                               "const float variance = squares / (float)positions;")],
}
EVERYTHING = [(name, "as written", ()) for name in SUMS] + [
    ("not fused", "contracted", ()), ("four lanes", "contracted", ()), ("not fused", "fast-math", ()),
    ("not fused", "unsafe math", ()), ("float64", "unsafe math", ()),
    ("float64", "as written", tuple(ELSEWHERE)), ("eight lanes", "contracted", tuple(ELSEWHERE)),
    ("pairwise", "as written", ("library exponential",)),
]
DEEP = [("Kahan", "as written", ()), ("pairwise", "as written", ()), ("not fused", "unsafe math", ()),
        ("eight lanes", "contracted", ()), ("float64", "as written", ()), ("from the back", "as written", ())]
PORTS = [("everything", *port) for port in EVERYTHING] + [("ecg", *port) for port in DEEP]
QUICK = [2, 14, 20]


def rewritten(source, sums, edits):
    """net.c with other sums."""
    declared, begin, take, end = SUMS[sums]
    text = re.sub(r"#if defined\(__FAST_MATH__\)\n#error[^\n]*\n#endif\n", "", source)
    text = text.replace('#pragma GCC optimize("fp-contract=off")\n', "")  # which "contracted" is against
    product = take.replace("X", r"\1").replace("W", r"\2")
    text, taken = re.subn(r"acc = multiply_add\((px\[c\]|value), (.*), acc\);", rf"{product};", text)
    text = text.replace("float acc = 0.0f;", begin).replace("*y++ = acc;", f"*y++ = {end};")
    assert taken and text != source
    for name in edits:
        for old, new in ELSEWHERE[name]:
            assert old in text, old
            text = text.replace(old, new)
    shape = "typedef struct {\n    int h, w, c, oh,"
    assert shape in text
    return text.replace(shape, f"{declared}\n{shape}", 1)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """Bundles by name, made when they are asked for."""
    folder, made = tmp_path_factory.mktemp("orders"), {}

    def get(name):
        if name not in made:
            model, options = (network(), {"arithmetic": "seq"}) if name == "everything" else (name, {"size": (64,)})
            golden(model, folder / name, formats=("bin", "c"), **options)
            made[name] = Bundle(folder / name)
        return made[name]

    return get


@needs_gcc
@pytest.mark.parametrize(("model", "sums", "flags", "edits"), PORTS if THOROUGH else [PORTS[k] for k in QUICK])
def test_another_order_passes_layer_by_layer(model, sums, flags, edits, bundles, tmp_path):
    if "-mfma" in FLAGS[flags] and not HAS_FMA:
        pytest.skip("this processor is not known to have fused multiply-add")
    bundle = bundles(model)
    (tmp_path / "net.c").write_text(rewritten((bundle.root / "c/net.c").read_text(), sums, edits))
    for file in ("net.h", "net_weights.h", "net_dump.c"):
        (tmp_path / file).symlink_to(bundle.root / "c" / file)
    command = ["gcc", "-std=c99", "-w", *FLAGS[flags], "net_dump.c", "net.c", "-lm", "-o", "net_dump"]
    subprocess.run(command, cwd=tmp_path, check=True)
    subprocess.run([tmp_path / "net_dump", "--all", bundle.root, tmp_path / "out"], check=True)
    result = verify(bundle, tmp_path / "out", bounded=True, explain=False)
    assert result.verdict == "PASS", report.text(result)
    assert result.finite_math == (flags == "unsafe math") == (tmp_path / "out/port.txt").exists()
    assert all(layer.status == "PASS" for layer in result.layers) and not result.partial_cases
    if "-ffast-math" in FLAGS[flags]:                  # linking with it lets subnormals be flushed
        assert any("the port flushes them" in note for note in result.notes)
    exact = verify(bundle, tmp_path / "out", explain=False)
    assert exact.verdict == "FAIL" or (sums, flags) == ("not fused", "as written")
