"""Compiling a fault of integer_fault_list into one layer of a generated port, and running it."""

import os
import re
import subprocess
from pathlib import Path

from integer_fault_list import FAULTS, NETWORKS
from integer_faults_further import FURTHER, FURTHER_NETWORKS
from integer_faults_unlisted import UNLISTED
from integer_ports import integer_network, make_bundle

from npunet.golden.integer.names import layer_ids

ALL_FAULTS, ALL_NETWORKS = [*FAULTS, *FURTHER, *UNLISTED], NETWORKS | FURTHER_NETWORKS
RENAMED = ("net_run", "net_run_layer", "net_layers", "net_acc", "net_pre")


def faulty_bundle(folder, name):
    """The bundle of a key of ALL_NETWORKS, made once."""
    bundle = Path(folder) / name
    if not bundle.exists():
        make_bundle(integer_network(*ALL_NETWORKS[name]), bundle, cases=("random", "layers"), formats=("bin", "c"))
    return bundle


def placed(given):
    """(number, id) of the layer that a fault is put into: the middle one of those that it is for."""
    network = integer_network(*ALL_NETWORKS[given.network]).network
    fitting = [(number, node.name) for number, node in enumerate(network)
               if node.op == given.op and (given.where is None or given.where(node))]
    assert fitting, f"no {given.op} of {given.network} is one for {given.name}"
    number, name = fitting[len(fitting) // 2]
    return number, layer_ids(network)[name]


def run_faulty(given, bundle, work, compiler="gcc"):
    """Compile net.c, and beside it a faulty copy that runs one layer; the outputs' folder and that layer's id."""
    number, layer = placed(given)
    source = (bundle / "c" / "net.c").read_text()
    bad = source
    for old, new in given.edits:
        assert old in bad, f"{given.name}: {old!r} is not in net.c"
        bad = bad.replace(old, new)
    head = f"static void layer_{number}(const net_value *const *in, net_value *y)\n{{\n"
    good = re.sub(re.escape(head) + r".*?\n}\n", lambda _: f"""\
void bad_net_run_layer(int layer, const net_value *const *inputs, net_value *output);
extern int64_t bad_net_acc[NET_LARGEST], bad_net_pre[NET_LARGEST];
{head}    bad_net_run_layer({number}, in, y);
    memcpy(net_acc, bad_net_acc, sizeof net_acc);
    memcpy(net_pre, bad_net_pre, sizeof net_pre);
}}
""", source, flags=re.DOTALL)
    assert good != source
    work.mkdir(parents=True, exist_ok=True)
    (work / "good.c").write_text(good)
    (work / "bad.c").write_text("".join(f"#define {name} bad_{name}\n" for name in RENAMED) + bad)
    common = [compiler, "-std=c99", "-O1", "-w", "-DNET_OBSERVE", f"-I{bundle / 'c'}"]
    subprocess.run([*common, str(work / "good.c"), str(work / "bad.c"), str(bundle / "c" / "net_dump.c"), "-o",
                    str(work / "dump")], check=True, timeout=100)
    subprocess.run([str(work / "dump"), "--all", str(bundle), str(work / "out")], check=True, timeout=100)
    return work / "out", layer


def chosen_faults():
    """All with NPUNET_THOROUGH, else the quick ones."""
    return [each for each in ALL_FAULTS if each.quick or os.environ.get("NPUNET_THOROUGH")]
