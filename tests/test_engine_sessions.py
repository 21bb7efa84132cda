"""Sessions, weights that change, and what is refused."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
from engine_cases import assert_same_bits, batch_for, definition, small, strided

from npunet import UNet
from npunet.engine.runtime import cache, installed
from npunet.inference.session import Session

pytest.importorskip("numba")


class TestWeightsThatChange:
    """The next prediction sees them."""

    def check(self, model, x, change):
        before = model.predict(x)
        change()
        after = model.predict(x)
        assert not np.array_equal(after, before)
        assert_same_bits(after, definition(model, x, "seq_fma"))

    def test_in_place(self, rng):
        model = small()
        x = batch_for(model, rng)
        for name in ("ENC1_D1_conv/kernel", "ENC2_D1.bn/moving_variance", "NECK_conv/bias"):
            def halve(name=name):
                model.weights[name][...] *= np.float32(0.5)

            self.check(model, x, halve)

    def test_one_bit_of_one_weight(self, rng):
        model = small()
        x = batch_for(model, rng, 8)
        bias = model.weights["NECK_conv/bias"]
        bias[...] = 0.3

        def next_float():
            bias[1] = np.nextafter(bias[1], np.float32(9))

        self.check(model, x, next_float)

    def test_by_assignment_and_load_weights(self, rng):
        model, other = small(), small(seed=5)
        x = batch_for(model, rng)
        self.check(model, x, lambda: model.weights.__setitem__("NECK_conv/bias", np.ones(3)))
        self.check(model, x, lambda: model.load_weights(other.weights))
        self.check(model, x, lambda: setattr(model, "weights", small(seed=6).weights))

    def test_in_place_by_an_array_taken_before_the_first_prediction(self, rng):
        model = small()
        bias = model.weights["NECK_conv/bias"]
        self.check(model, batch_for(model, rng), lambda: bias.fill(2))

    def test_by_the_stamp_as_long_as_no_array_was_given_out(self, rng, monkeypatch, tmp_path):
        small().save(tmp_path / "model.npz")
        model = UNet.load(tmp_path / "model.npz")
        x = batch_for(model, rng)
        model.predict(x)
        (engine,) = model._engines.kept.values()
        monkeypatch.setattr(np, "array_equal", lambda *_: pytest.fail("compared"))
        model.predict(x)
        model.save(tmp_path / "model.npz")
        assert engine.is_current(model.weights) and (engine,) == tuple(model._engines.kept.values())
        model.weights["NECK_conv/bias"] = np.ones(3)
        monkeypatch.undo()
        self.check(model, x, lambda: model.weights.__setitem__("NECK_conv/bias", np.zeros(3)))

    def test_by_statistics(self, rng):
        model = small()
        x = batch_for(model, rng)
        model.gradients(x, np.zeros((2, 24), np.int32))
        self.check(model, x, model.commit_statistics)

    def test_copies_have_their_own(self, rng):
        model = small()
        x = batch_for(model, rng)
        expected = model.predict(x)
        for twin in (copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert_same_bits(twin.predict(x), expected)
            twin.weights["NECK_conv/bias"][...] += 1
            assert_same_bits(model.predict(x), expected)


class TestSession:
    """A network compiled for one size."""

    @pytest.mark.parametrize("arithmetic", ["seq", "seq_fma"])
    def test_gives_what_predict_gives(self, arithmetic, rng):
        signals, images = small(), strided()
        for model, shape, batch in ((signals, None, 1), (signals, (48, 2), 3), (images, (4, 9, 2), 2)):
            session = model.compile(shape, batch=batch, arithmetic=arithmetic, threads=1)
            x = batch_for(model, rng, batch, shape and shape[:-1])
            assert session.input.shape == x.shape and session.input.dtype == np.float32
            assert_same_bits(session(x), model.predict(x, arithmetic=arithmetic))

    def test_keeps_its_buffers(self, rng):
        session = small().compile(batch=2)
        assert isinstance(session, Session) and "Session((2, 24, 2) -> (2, 24, 3)" in repr(session)
        x = batch_for(small(), rng)
        given, out = session.input, session.output
        first = session(x).copy()
        assert session(x) is out is session.output
        assert np.array_equal(given, x)
        out[...] = 0
        assert session() is out and session.input is given
        assert_same_bits(out, first)
        session.input[...] = 0
        assert_same_bits(session(session.input), session())
        assert not np.array_equal(out, first)

    def test_converts_what_is_not_contiguous_float32(self, rng):
        model = small()
        session, x = model.compile(batch=2), batch_for(model, rng)
        expected = session(x).copy()
        for other in (x.astype(np.float64), np.asfortranarray(x), x.tolist(), x.astype(">f4")):
            session(np.zeros_like(x))
            assert_same_bits(session(other), expected)
            assert_same_bits(session.input, x)

    def test_is_a_snapshot_of_the_weights(self, rng):
        model = small()
        session, x = model.compile(batch=2), batch_for(model, rng)
        expected = session(x).copy()
        model.weights["NECK_conv/bias"][...] += 1
        assert_same_bits(session(x), expected)
        assert not np.array_equal(model.compile(batch=2)(x), expected)

    def test_refuses(self, rng):
        model = small()
        session = model.compile(batch=2)
        with pytest.raises(ValueError, match=r"x has shape \(1, 24, 2\); this session runs \(2, 24, 2\)"):
            session(np.zeros((1, 24, 2), np.float32))
        with pytest.raises(ValueError, match="dtype complex64"):
            session(np.zeros((2, 24, 2), np.complex64))
        with pytest.raises(ValueError, match="leaves one open: give"):
            small().compile((None, 2))
        with pytest.raises(ValueError, match="which the strides do not divide"):
            model.compile((25, 2))
        with pytest.raises(ValueError, match="the network takes 2"):
            model.compile((24, 3))
        with pytest.raises(ValueError, match="batch=0 must be at least 1"):
            model.compile(batch=0)
        with pytest.raises(ValueError, match="threads=0 must be at least 1"):
            model.compile(threads=0)
        with pytest.raises(ValueError, match="arithmetic='any' is NumPy's"):
            model.compile(arithmetic="any")
        with pytest.raises(ValueError, match="the model is float64"):
            small(dtype="float64").compile()


class TestRefused:
    """Predictions that cannot be."""

    def test_inputs(self):
        model = small()
        for x, told in ((np.zeros((2, 24, 2), np.complex64), "dtype complex64"), (np.zeros((2, 24), "U1"), "dtype <U1"),
                        (np.zeros((24, 2)), r"x has shape \(24, 2\)"), (np.zeros((1, 24, 3)), "3 channels"),
                        (np.zeros((1, 23, 2)), "strides do not divide"), (np.zeros((1, 0, 2)), "no samples")):
            with pytest.raises(ValueError, match=told):
                model.predict(x, backend="engine")

    @pytest.mark.parametrize("threads", [0, -1, 1.5, True, "2"])
    def test_threads(self, threads, rng):
        model = small()
        with pytest.raises(ValueError, match="threads="):
            model.predict(batch_for(model, rng), threads=threads)

    def test_float64_and_any(self, rng):
        model = small(dtype="float64")
        with pytest.raises(ValueError, match="runs float32"):
            model.predict(batch_for(model, rng), backend="engine")
        with pytest.raises(ValueError, match="'any' is NumPy's"):
            small().predict(batch_for(model, rng), backend="engine", arithmetic="any")

    def test_without_numba(self, rng, monkeypatch):
        model = small()
        x = batch_for(model, rng)
        expected = model.predict(x, backend="numpy")
        monkeypatch.setattr(installed, "find_spec", lambda name: None)
        installed.engine_installed.cache_clear()
        try:
            with pytest.raises(ImportError, match="pip install numba"):
                model.predict(x, backend="engine")
            assert np.array_equal(model.predict(x), expected)
        finally:
            installed.engine_installed.cache_clear()


def test_engines_of_many_sizes_are_let_go(rng, monkeypatch):
    monkeypatch.setattr(cache, "ENGINES_KEPT", 3)
    model = strided()
    for size in range(1, 8):
        model.predict(batch_for(model, rng, 1, (2 * size, 3)))
    assert len(model._engines.kept) == 3


def test_numba_is_loaded_only_when_it_is_needed():
    code = ("import sys, numpy as np, npunet\n"
            "model = npunet.UNet({'blocks': []}, (8, 1), 2)\nmodel.predict(np.zeros((1, 8, 1)), backend='numpy')\n"
            "assert 'numba' not in sys.modules and 'llvmlite' not in sys.modules")
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
