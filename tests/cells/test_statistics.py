import math

import numpy as np
import pytest
from scipy import stats

from deblurkit.cells.statistics import Difference, Spread


def test_spread_of_a_row():
    spread = Spread.of([30.0, 34.0, 32.0], higher_is_better=True)
    assert (spread.mean, spread.median, spread.worst, spread.count) == (32.0, 32.0, 30.0, 3)
    assert spread.sd == pytest.approx(2.0)
    assert Spread.of([0.1, 0.4], higher_is_better=False).worst == 0.4
    assert math.isnan(Spread.of([1.0], higher_is_better=True).sd)


def test_interval_is_that_of_the_paired_t_test():
    generator = np.random.default_rng(0)
    theirs = generator.normal(30, 3, 12)
    ours = theirs + generator.normal(0.5, 0.4, 12)
    sides = [{f"p{i}": [value] for i, value in enumerate(side)} for side in (ours, theirs)]
    found = Difference.between(*sides)
    expected = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    assert found.mean == pytest.approx((ours - theirs).mean())
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert found.pictures == 12


def test_seeds_of_a_picture_are_averaged_and_pictures_are_matched_by_name():
    ours = {"a": [31.0, 33.0], "b": [30.0], "only here": [99.0]}
    theirs = {"b": [29.0], "a": [30.0, 30.0, 30.0], "failed": []}
    found = Difference.between(ours, theirs)
    assert found.mean == pytest.approx((2.0 + 1.0) / 2)
    assert found.pictures == 2


def test_one_picture_has_a_difference_but_no_interval():
    found = Difference.between({"a": [31.0]}, {"a": [30.0]})
    assert found.mean == 1.0
    assert math.isnan(found.low)
    assert Difference.between({"a": [31.0]}, {"b": [30.0]}) is None
    assert Difference.between({"a": []}, {"a": [30.0]}) is None
