"""The digests that reference/engine_bits.py compares on other machines: what the engine gives on this one."""

import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")
sys.path.insert(0, str(Path(__file__).parents[1] / "reference"))
import engine_bits


def test_the_stored_digests_are_the_engine_s(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["engine_bits.py"])
    assert engine_bits.main() == 0
    out = capsys.readouterr().out
    assert "9 of 9 as stored" in out and out.count("same bits") == 9


def test_other_bits_are_told(monkeypatch, capsys):
    stored = json.loads(engine_bits.STORED.read_text())
    assert len(set(stored.values())) == 7                       # "winograd" is "seq_fma" where no kernel is 3x3
    wrong = [("tiny/seq", stored["tiny/seq_fma"], 0.0), ("ecg/seq", stored["ecg/seq"], 0.0)]
    monkeypatch.setattr(engine_bits, "digests", lambda backend: iter(wrong))
    monkeypatch.setattr(sys, "argv", ["engine_bits.py"])
    assert engine_bits.main() == 1
    assert "OTHER BITS  tiny/seq" in capsys.readouterr().out
