"""Kills while files are written: the old or the new, never neither, and no scratch after the next run.

NPUNET_THOROUGH=1 kills 300 times, and what else writes too, instead of 10.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLS, KINDS = 10, ["save", "convert", "train", "golden", "warmup"]
if os.environ.get("NPUNET_THOROUGH"):
    KILLS, KINDS = 300, []                                                   # everything that writes
HERE = Path(__file__).parent


@pytest.mark.skipif(os.name == "nt", reason="signals of another kind")
def test_a_kill_leaves_the_old_file_or_the_new_one_and_no_scratch(tmp_path):
    done = subprocess.run([sys.executable, HERE / "kills.py", str(KILLS), "1", tmp_path, *KINDS], check=False,
                          env={**os.environ, "PYTHONPATH": str(HERE.parent)}, capture_output=True, text=True,
                          timeout=120 + 20 * KILLS)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert told["faults"] == [] and told["scratch"] == []
    assert min(told["kills"].values()) >= KILLS // len(told["kills"]) - 1, "the kills must come while something runs"
