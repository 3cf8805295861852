"""What `yolo_attn.comparison.stats` promises: the shares of right and wrong findings, over simulated comparisons."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from yolo_attn.comparison import stats

A, B = [0.617, 0.612, 0.621, 0.619, 0.616], [0.611, 0.615, 0.606, 0.613, 0.609]
LONGER = [*B, 0.618, 0.601, 0.612]


def draw(seed: int, runs: int, n: int, mean: float = 0.0, sd: float = 1.0) -> NDArray[np.float64]:
    """Scores of one arm in each of many comparisons."""
    return np.random.default_rng(seed).normal(mean, sd, (runs, n))


def share(hits: list[bool]) -> float:
    return sum(hits) / len(hits)


@pytest.mark.parametrize("n_a, n_b", [(5, 5), (5, 8)])
def test_no_effect_is_found_as_often_as_the_level_says(n_a: int, n_b: int) -> None:
    """A user would believe in modules that do nothing."""
    arms = list(zip(draw(1, 2000, n_a), draw(2, 2000, n_b), strict=True))
    assert 0.03 <= share([stats.permutation(a, b) <= 0.05 for a, b in arms]) <= 0.07
    intervals = [stats.welch(a, b) for a, b in arms]
    assert 0.03 <= share([low > 0 or high < 0 for _, low, high in intervals]) <= 0.07


@pytest.mark.parametrize("n_a, n_b", [(5, 5), (5, 8)])
@pytest.mark.parametrize("sd", [1, 3])
def test_welch_covers(n_a: int, n_b: int, sd: float) -> None:
    """The true difference would lie outside the interval more often than it says, or the interval be too wide."""
    for wide in (n_a, n_b):  # the arm that varies more
        sds = (sd, 1.0) if wide == n_a else (1.0, sd)
        arms = zip(draw(3, 2000, n_a, 0.7, sds[0]), draw(4, 2000, n_b, 0.2, sds[1]), strict=True)
        assert 0.93 <= share([low <= 0.5 <= high for _, low, high in (stats.welch(a, b) for a, b in arms)]) <= 0.97


@pytest.mark.parametrize("sizes", [[(5, 5)] * 3, [(5, 8), (3, 5), (5, 5)]])
def test_pooled_covers(sizes: list[tuple[int, int]]) -> None:
    """The verdict over several data sets would be wrong, most of all where they vary differently."""
    effects, sds = (0.5, -0.2, 0.9), ((1, 1), (4, 2), (0.5, 1.5))
    arms = [
        (draw(2 * k, 2000, n_a, effects[k], sds[k][0]), draw(2 * k + 1, 2000, n_b, 0, sds[k][1]))
        for k, (n_a, n_b) in enumerate(sizes)
    ]
    intervals = [stats.pooled([(a[i], b[i]) for a, b in arms]) for i in range(2000)]
    assert 0.93 <= share([low <= 0.4 <= high for _, low, high in intervals]) <= 0.97


@pytest.mark.parametrize("n, runs, tolerance", [
    (5, 2000, 0.05),  # 0.03 for chance (three standard errors), and 0.02 as 12 of 252 relabelings are 4.8 %, not 5 %
    (10, 600, 0.06),  # 0.05 for chance, and 0.01 for the relabelings that are drawn here
])  # fmt: skip
@pytest.mark.parametrize("effect", [0.0, 1.0, 2.0])
def test_power_is_the_share_of_effects_that_the_permutation_test_finds(
    n: int, runs: int, tolerance: float, effect: float
) -> None:
    """A user would plan for too few seeds, or for too many."""
    arms = zip(draw(5, runs, n, effect), draw(6, runs, n), strict=True)
    found = share([stats.permutation(a, b, limit=2000) <= 0.05 for a, b in arms])
    assert found == pytest.approx(stats.power(effect, 1, n, n), abs=tolerance)


def test_holm_keeps_false_findings_of_a_family_at_the_level() -> None:
    """With more modules against one baseline, something would soon look better."""
    baseline, arms = draw(7, 2000, 5), [draw(8 + k, 2000, 5) for k in range(4)]
    families = [[stats.permutation(arm[i], baseline[i]) for arm in arms] for i in range(2000)]
    assert share([min(p) <= 0.05 for p in families]) > 0.1
    assert 0.02 <= share([min(stats.holm(p)) <= 0.05 for p in families]) <= 0.07


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize("b", [B, LONGER])
def test_welch_is_that_of_scipy(b: list[float], level: float) -> None:
    """Users who check the interval would get another."""
    theirs = scipy_stats.ttest_ind(A, b, equal_var=False).confidence_interval(level)
    assert stats.welch(A, b, level) == pytest.approx((np.mean(A) - np.mean(b), *theirs), rel=1e-9)


def test_pooled_by_hand() -> None:
    """A data set with more seeds or more noise would count otherwise than the others."""
    difference, low, high = stats.pooled([([1, 3], [0, 0, 0, 0]), ([4, 5, 6], [0, 3])])
    variances, freedoms = (1, 0, 1 / 3, 9 / 4), (1, 3, 2, 1)
    total = sum(variances)
    freedom = total**2 / sum(v**2 / f for v, f in zip(variances, freedoms, strict=True))
    half = scipy_stats.t(freedom).isf(0.025) * math.sqrt(total) / 2
    assert (difference, low, high) == pytest.approx((2.75, 2.75 - half, 2.75 + half))


@pytest.mark.filterwarnings("error")
def test_intervals_of_few_or_equal_scores() -> None:
    """One seed, or a training that repeats exactly, would end in a traceback, a warning or a made-up interval."""
    for pairs in ([([2], [1])], [([2], [1, 1, 1])], [([2, 2], [1])], [([2, 2], [1, 1]), ([3], [2])]):
        difference, low, high = stats.pooled(pairs)
        assert difference == 1 and math.isnan(low) and math.isnan(high)
    assert stats.welch([2, 2], [1, 1, 1]) == (1, 1, 1)
    assert stats.welch([1, 3], [1, 1, 1]) == pytest.approx((1, 1 - 12.706205, 1 + 12.706205))


@pytest.mark.parametrize("a, b", [
    (A, B), (A, LONGER), ([1], [2]), ([3], [1, 2, 2]), ([1, 2, 3], [4, 5, 6]), ([1, 2, 9], [3, 4, 5, 5, 7]),
    ([0.1, 0.2, 0.6], [0.3, 0.3, 0.3]),  # equal means, though not in floating point
    ([0.611, 0.613, 0.7], [0.612, 0.612, 0.1]), ([-0.1, 0.3], [0.1, 0.1, -0.2]), ([0, 0], [0, 0, 0]),
])  # fmt: skip
def test_permutation_counts_all_relabelings(a: list[float], b: list[float]) -> None:
    """The p-value would not be exact: rounding would tell relabelings apart that differ by nothing."""
    scores = [Fraction(str(x)) for x in (*a, *b)]

    def difference(arm: tuple[int, ...]) -> Fraction:
        inside = [scores[i] for i in arm]
        return abs(sum(inside) / len(a) - (sum(scores) - sum(inside)) / len(b))

    arms = list(itertools.combinations(range(len(scores)), len(a)))
    expected = share([difference(arm) >= difference(tuple(range(len(a)))) for arm in arms])
    assert stats.permutation(a, b) == stats.permutation(b, a) == expected
    assert stats.permutation(a, b, limit=len(arms)) == expected


def test_permutation_is_that_of_scipy() -> None:
    """Users who check the p-value would get another."""

    def statistic(x: NDArray[np.float64], y: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        return np.abs(x.mean(axis) - y.mean(axis))

    for a, b in zip(draw(13, 20, 4, 1.0), draw(14, 20, 6), strict=True):
        theirs = scipy_stats.permutation_test((a, b), statistic, vectorized=True, alternative="greater")
        assert stats.permutation(a, b) == pytest.approx(theirs.pvalue, rel=1e-12)


def test_drawn_relabelings() -> None:
    """The p-value of many seeds would change from call to call, or with the order of runs, or be zero."""
    (a,), (b,) = draw(15, 1, 12, 0.9), draw(16, 1, 14)
    p = stats.permutation(a, b)
    assert p == stats.permutation(a, b) == stats.permutation(a[::-1], np.roll(b, 3))
    assert p == pytest.approx(scipy_stats.ttest_ind(a, b).pvalue, abs=0.01)
    assert p != stats.permutation(a, b, seed=1) == pytest.approx(p, abs=0.01)
    assert stats.permutation(a, b + 100) == stats.smallest_p(12, 14) == 1 / 20_001
    assert stats.permutation(a, b + 100, limit=99) == 0.01


@pytest.mark.parametrize("n", [1, 5, 20])
def test_equal_arms_differ_by_nothing(n: int) -> None:
    """A module that changes no bit would seem to."""
    a = np.random.default_rng(n).uniform(0.6, 0.62, n)
    assert stats.permutation(a, a) == stats.permutation(a, a[::-1]) == 1


@pytest.mark.parametrize("p, adjusted", [
    ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
    ([0.5, 0.02, 0.4], [0.8, 0.06, 0.8]),
    ([0.02, 0.02], [0.04, 0.04]),
    ([0.6, 0.9], [1, 1]),
    ([0.3], [0.3]),
    ([0, 1], [0, 1]),
])  # fmt: skip
def test_holm_by_hand(p: list[float], adjusted: list[float]) -> None:
    """The correction would be another than the one that is named."""
    assert stats.holm(p) == pytest.approx(adjusted, abs=1e-15)


@pytest.mark.parametrize("n_a, n_b", [(1, 1), (1, 4), (3, 3), (4, 4), (5, 3), (5, 8), (8, 8), (3, 45)])
def test_smallest_p_is_reached(n_a: int, n_b: int) -> None:
    """A user would be told that a comparison can find something, and it couldn't; or the other way round."""
    b = [0.0, *[0.1] * (n_b - 1)]
    p = stats.permutation([9.0] * n_a, b)
    assert stats.holm([p, p, p])[0] == pytest.approx(stats.smallest_p(n_a, n_b, tests=3), rel=1e-12)


def test_seeds_needed() -> None:
    """The advice would be a number of seeds that can find nothing."""
    assert stats.smallest_p(3, 3) == 2 / 20 and stats.smallest_p(4, 4) == 2 / 70
    assert [stats.seeds_needed(tests) for tests in (1, 2, 6, 7)] == [4, 5, 5, 6]
    assert stats.seeds_needed(1, alpha=0.1) == 3
    assert stats.seeds_needed(1000) == 9  # beyond all relabelings
    with pytest.raises(ValueError, match=r"tests must not exceed 1000 at alpha 0\.05, got 1001"):
        stats.seeds_needed(1001)


def test_power_of_the_t_test() -> None:
    """The promised chance would be that of no test."""
    assert stats.power(0, 0.3, 4, 7, alpha=0.01) == pytest.approx(0.01)
    assert stats.power(0.5, 1, 64, 64) == pytest.approx(0.8015, abs=1e-4)  # Cohen 1988, table 2.3.5: 0.80
    assert stats.power(-0.02, 0.01, 5, 8) == stats.power(0.02, 0.01, 5, 8) == stats.power(2, 1, 8, 5)
    assert stats.power(1e6, 1, 2, 2) == 1
    a, b = draw(17, 20_000, 4, 1.5), draw(18, 20_000, 6)
    found = np.mean(scipy_stats.ttest_ind(a, b, axis=1).pvalue <= 0.05)
    assert stats.power(1.5, 1, 4, 6) == pytest.approx(found, abs=0.01)  # three standard errors


@pytest.mark.parametrize("n_a, n_b", [(1, 2), (2, 2), (5, 5), (5, 8), (40, 3)])
@pytest.mark.parametrize("alpha, chance", [(0.05, 0.8), (0.01, 0.5), (0.05, 0.06), (0.05, 0.999)])
def test_detectable_is_the_inverse_of_power(n_a: int, n_b: int, alpha: float, chance: float) -> None:
    """What a comparison is said to see would be seen less often, or more."""
    effect = stats.detectable(0.004, n_a, n_b, alpha, chance)
    assert effect > 0 and stats.power(effect, 0.004, n_a, n_b, alpha) == pytest.approx(chance, abs=1e-9)
    assert stats.detectable(0, n_a, n_b, alpha, chance) == 0


def test_pooled_sd() -> None:
    """The spread would count the differences between models, or a small arm as much as a large one."""
    assert stats.pooled_sd([[1, 3], [10, 10, 10, 14], [7]]) == pytest.approx(math.sqrt((2 + 12) / 4))
    assert stats.pooled_sd([A]) == pytest.approx(np.std(A, ddof=1))


def test_percentile() -> None:
    """The interval would hold another share of the resamples than it says, or lie to one side."""
    assert stats.percentile(np.random.default_rng(0).permutation(1001)) == pytest.approx((25, 975))
    assert stats.percentile(range(101), level=0.8) == pytest.approx((10, 90))
    assert stats.percentile([0.3]) == (0.3, 0.3)


@pytest.mark.parametrize("call, message", [
    (lambda: stats.welch([], B), r"a must be a list of finite numbers, at least one, got \[\]"),
    (lambda: stats.welch(A, [1, math.nan]), r"b must be a list of finite numbers, at least one, got \[.*nan\]"),
    (lambda: stats.welch(A, B, 95), "level must be between 0 and 1, got 95. Write 5 % as 0.05"),
    (lambda: stats.pooled([]), "pairs must hold the scores on at least one data set"),
    (lambda: stats.permutation(A, [math.inf]), "b must be a list of finite numbers"),
    (lambda: stats.permutation([A], B), "a must be a list of finite numbers"),
    (lambda: stats.permutation(A, B, limit=0), "limit must be 1 or more, got 0"),
    (lambda: stats.holm([]), "p must be a list of finite numbers"),
    (lambda: stats.holm([0.1, 1.1]), r"p must hold numbers from 0 to 1, got \[.*1\.1\]"),
    (lambda: stats.holm([0.1, math.nan]), "p must be a list of finite numbers"),
    (lambda: stats.smallest_p(5, 0), "n_b must be 1 or more, got 0"),
    (lambda: stats.seeds_needed(0), "tests must be 1 or more, got 0"),
    (lambda: stats.seeds_needed(1, alpha=5), "alpha must be between 0 and 1, got 5"),
    (lambda: stats.power(math.nan, 1, 5, 5), "effect and sd must be finite, and sd positive, got nan, 1"),
    (lambda: stats.power(1, 0, 5, 5), "effect and sd must be finite, and sd positive, got 1, 0"),
    (lambda: stats.power(1, 1, 1, 1), "n_a and n_b must be 1 or more, and 3 together, got 1, 1. Run more seeds"),
    (lambda: stats.detectable(math.nan, 5, 5), "sd must be finite and not negative, got nan"),
    (lambda: stats.detectable(1, 5, 5, alpha=0.1, chance=0.1), r"chance must be between alpha \(0\.1\) and 1, got"),
    (lambda: stats.detectable(1, 5, 5, chance=1), r"chance must be between alpha \(0\.05\) and 1, got 1"),
    (lambda: stats.pooled_sd([[1], [2]]), "arms must hold an arm of two scores, got none. Run more seeds"),
    (lambda: stats.pooled_sd([[1, 2], []]), "arms must be a list of finite numbers"),
    (lambda: stats.percentile([]), "samples must be a list of finite numbers"),
])  # fmt: skip
def test_bad_input(call: Callable[[], object], message: str) -> None:
    """A failed run would become a number in a table, or an error that names no cause."""
    with pytest.raises(ValueError, match=message):
        call()
