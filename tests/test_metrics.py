"""Scores, against examples that were counted by hand."""

import json

import numpy as np
import pytest

from npunet.evaluate.classes import ClassScores, confusion
from npunet.evaluate.events import EventScores, boundaries, match
from npunet.evaluate.objects import Foreground, ObjectScores, objects, otsu_threshold

#                    0  0  0  1  1  2  2  2  -  -
TRUTH = np.array([[0, 0, 0, 1, 1, 2, 2, 2, 9, 9]])
SAID = np.array([[0, 0, 1, 1, 2, 2, 2, 0, 1, 2]])


def test_the_confusion_matrix_by_hand():
    matrix = confusion(TRUTH, SAID, 4, ignore_label=9)
    np.testing.assert_array_equal(matrix, [[2, 1, 0, 0], [0, 1, 1, 0], [1, 0, 2, 0], [0, 0, 0, 0]])
    with pytest.raises(ValueError, match="truth holds labels 0 to 9; there are 4 classes"):
        confusion(TRUTH, SAID, 4)
    with pytest.raises(ValueError, match="shape"):
        confusion(TRUTH, SAID[0], 4, 9)


def test_class_scores_by_hand():
    scores = ClassScores(confusion(TRUTH, SAID, 4, ignore_label=9))
    np.testing.assert_allclose(scores.precision, [2 / 3, 1 / 2, 2 / 3, np.nan])
    np.testing.assert_allclose(scores.recall, [2 / 3, 1 / 2, 2 / 3, np.nan])
    np.testing.assert_allclose(scores.f1, [2 / 3, 1 / 2, 2 / 3, np.nan])
    np.testing.assert_allclose(scores.iou, [2 / 4, 1 / 3, 2 / 4, np.nan])
    found = scores.summary()
    assert found["accuracy"] == pytest.approx(5 / 8)
    assert found["mean_f1"] == pytest.approx((2 / 3 + 1 / 2 + 2 / 3) / 3)
    assert found["weighted_f1"] == pytest.approx((3 * 2 / 3 + 2 * 1 / 2 + 3 * 2 / 3) / 8)
    assert found["mean_iou"] == pytest.approx(4 / 9)
    assert found["weighted_iou"] == pytest.approx((3 / 2 + 2 / 3 + 3 / 2) / 8)


def test_a_class_that_is_predicted_but_never_true_counts_in_the_plain_mean():
    found = ClassScores(np.array([[3, 1], [0, 0]])).summary()
    assert found["mean_iou"] == pytest.approx((3 / 4 + 0) / 2) and found["weighted_f1"] == pytest.approx(6 / 7)


def test_scores_as_text_and_json():
    scores = ClassScores(confusion(TRUTH, SAID, 4, ignore_label=9))
    names = ("none", "P", "QRS", "T")
    told = json.loads(json.dumps(scores.to_dict(names), allow_nan=False))
    assert told["classes"]["T"] == {"precision": None, "recall": None, "f1": None, "iou": None, "support": 0}
    assert told["confusion"][2] == [1, 0, 2, 0]
    assert "QRS" in scores.table(names) and "0.6667" in scores.table(names)


def test_boundaries_of_runs():
    onsets, offsets = boundaries(np.array([1, 1, 0, 1, 2, 1]), 1)
    assert onsets.tolist() == [0, 3, 5] and offsets.tolist() == [1, 3, 5]
    assert all(len(each) == 0 for each in boundaries(np.zeros(4, int), 1))


def test_the_closest_pairs_are_matched_first_and_once():
    # 10 is nearest to 11; 14 then takes 20 only within reach
    assert sorted(match(np.array([10, 14]), np.array([11, 20]), 7)) == [(0, 0), (1, 1)]
    assert match(np.array([10, 14]), np.array([11, 20]), 5) == [(0, 0)]
    assert match(np.array([10, 12]), np.array([11]), 5) == [(0, 0)]
    assert match(np.array([], int), np.array([3]), 5) == []


def test_events_by_hand():
    truth, said = np.zeros(1000, int), np.zeros(1000, int)
    truth[100:140] = truth[500:540] = 1     # found late by 10 samples, and missed
    said[110:145] = said[800:830] = 1       # the second is made up
    scores = EventScores(("none", "P"))
    scores.add(truth, said, fs=500)
    onset, offset = (scores.to_dict()["P"][kind] for kind in ("onset", "offset"))
    counts = {"found": 1, "missed": 1, "made_up": 1}
    assert onset == {"sensitivity": 0.5, "ppv": 0.5, "mean_ms": 20.0, "sd_ms": 0.0, **counts}
    assert offset["mean_ms"] == 10.0
    assert "P onset" in scores.table()


def test_the_tolerance_is_150_ms_inclusive():
    for late, found in ((75, 1), (76, 0)):
        truth, said = np.zeros(600, int), np.zeros(600, int)
        truth[200:210] = 1
        said[200 + late : 210 + late] = 1
        scores = EventScores(("none", "P"))
        scores.add(truth, said, fs=500)
        assert scores.to_dict()["P"]["onset"]["found"] == found


def test_where_nobody_looked_nothing_is_made_up_but_a_true_boundary_may_be_found():
    truth, said = np.zeros(600, int), np.zeros(600, int)
    truth[:100] = truth[500:] = 9
    truth[100:120] = 1
    said[95:121] = said[550:560] = 1        # begins where nobody looked, 5 samples early; and far outside
    scores = EventScores(("none", "P"))
    scores.add(truth, said, fs=500, ignore_label=9)
    onset = scores.to_dict()["P"]["onset"]
    assert (onset["found"], onset["missed"], onset["made_up"], onset["mean_ms"]) == (1, 0, 0, -10.0)


def test_objects_by_hand():
    truth = np.zeros((8, 12), int)
    truth[0:4, 0:4], truth[5:8, 6:12] = 1, 2
    said = np.zeros((8, 12), int)
    said[0:4, 1:5], said[5:8, 0:3] = 1, 2   # IoU 12 / 20 > 0.5; the other overlaps nothing
    scores = ObjectScores()
    scores.add(truth, said)
    assert (scores.found, scores.missed, scores.made_up) == (1, 1, 1)
    assert scores.to_dict()["average_precision"] == pytest.approx(1 / 3, abs=1e-6)
    strict = ObjectScores(0.6)
    strict.add(truth, said)
    assert strict.found == 0, "an IoU of exactly the threshold does not count"
    scores.add(np.zeros((3, 3), int), np.zeros((3, 3), int))
    assert scores.found == 1
    with pytest.raises(ValueError, match="ambiguous"):
        ObjectScores(0.3)


def test_regions_are_numbered_and_small_ones_dropped():
    mask = np.zeros((6, 9), bool)
    mask[0, 0], mask[2:4, 2:5], mask[5, 5:9] = True, True, True
    numbered = objects(mask, smallest=2)
    assert numbered.max() == 2 and numbered[0, 0] == 0
    assert sorted(np.bincount(numbered.ravel())[1:].tolist()) == [4, 6]


def test_otsu_parts_two_heaps(rng):
    dark, light = rng.normal(0, 0.1, 3000), rng.normal(2, 0.1, 500)
    image = np.concatenate([dark, light])
    threshold = otsu_threshold(image)
    assert dark.max() - 0.05 < threshold < light.min() + 0.05
    assert np.array_equal(image > threshold, np.arange(3500) >= 3000)


def test_the_overlap_of_masks_by_hand():
    """Each image counts alike in `each`, each pixel in `together`."""
    a, b, c = (np.array(mask, bool) for mask in ([1, 1, 0, 0], [0, 1, 1, 0], [1, 1, 1, 1]))
    scores = Foreground()
    scores.add(a, b)
    scores.add(c, c)
    scores.add(a & ~a, b & ~b)
    assert scores.each.tolist() == pytest.approx([1 / 3, 1, 1]) and scores.together == pytest.approx(5 / 7)
    nothing = Foreground()
    nothing.add(a & ~a, b & ~b)
    assert nothing.together == 1
