"""Files damaged at random: 0 tracebacks, 0 uncaught memory, 0 silent changes where a format has checksums.

NPUNET_THOROUGH=1 damages 13,600 files instead of a hundred of each kind. Each kind runs in a process of its own, with
four gigabytes of address space: a reader written in C that crashes is a failed test and not the end of all.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz_files import KINDS

pytestmark = pytest.mark.skipif(os.name == "nt", reason="bounds of another kind")
COUNT = 800 if os.environ.get("NPUNET_THOROUGH") else 100
SEED = int(os.environ.get("NPUNET_FUZZ_SEED", "1"))
NEEDS = {"hdf5": "h5py", "keras": "h5py", "safetensors": "safetensors", "tflite": "tflite",
         "tflite of an open batch": "tflite", "tflite of floats": "tflite"}
HERE = Path(__file__).parent


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_refused_in_one_line_or_read_as_they_were(kind, tmp_path):
    if kind in NEEDS:
        pytest.importorskip(NEEDS[kind])
    one_core = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent)}
    done = subprocess.run([sys.executable, HERE / "fuzz_files.py", kind, str(SEED), str(COUNT), tmp_path], check=False,
                          env={**os.environ, **one_core}, capture_output=True, text=True, timeout=60 + COUNT)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert told["faults"] == [] and told["silent"] == 0
    assert told["read"] + told["refused"] == COUNT and told["refused"] > COUNT // 10
