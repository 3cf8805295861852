"""What the scores of several training runs say. Pure functions on numbers: numpy and scipy.

An arm is the scores of one model over seeds. The same seed does not pair two models, since any change of a model sends
training another way: arms are independent samples.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

Scores = Sequence[float] | NDArray[np.float64]

LIMIT = 20_000  # relabelings that a permutation test goes through: all of them up to 8 against 8 seeds


class Interval(NamedTuple):
    """A difference of means and the limits of its confidence interval, nan where an arm has one score."""

    difference: float
    low: float
    high: float


def welch(a: Scores, b: Scores, level: float = 0.95) -> Interval:
    """The difference of two means, with an interval that lets the arms differ in variance and size.

    Args:
        a, b: Scores of the two arms.
        level: Confidence level.

    Returns:
        mean(a) - mean(b) and its interval.

    Raises:
        ValueError: If an arm is empty or not finite, or the level is not between 0 and 1.
    """
    return pooled([(a, b)], level)


def pooled(pairs: Sequence[tuple[Scores, Scores]], level: float = 0.95) -> Interval:
    """The difference of two models over several data sets, each of which counts the same.

    Args:
        pairs: Scores of the two models on each data set.
        level: Confidence level.

    Returns:
        The mean of mean(a) - mean(b), and its interval. That is for these data sets: it says nothing about others.

    Raises:
        ValueError: If there is no pair, an arm is empty or not finite, or the level is not between 0 and 1.

    References:
        Welch, Biometrika 34, 1947, doi:10.1093/biomet/34.1-2.28, for one pair; Satterthwaite, Biometrics Bulletin 2,
        1946, doi:10.2307/3002019, for the degrees of freedom over all arms.
    """
    _check_share("level", level)
    if not pairs:
        raise ValueError("stats: pairs must hold the scores on at least one data set, got none. Give a and b of each.")
    arms = [(_scores("a", a), _scores("b", b)) for a, b in pairs]
    difference = float(np.mean([a.mean() - b.mean() for a, b in arms]))
    sizes = np.array([(a.size, b.size) for a, b in arms])
    if sizes.min() == 1:
        return Interval(difference, math.nan, math.nan)
    variances = np.array([(a.var(ddof=1), b.var(ddof=1)) for a, b in arms]) / sizes
    total = variances.sum()
    if total == 0:
        return Interval(difference, difference, difference)
    freedom = 1 / np.sum((variances / total) ** 2 / (sizes - 1))
    half = float(stats.t.ppf((1 + level) / 2, freedom) * math.sqrt(total) / len(pairs))
    return Interval(difference, difference - half, difference + half)


def permutation(a: Scores, b: Scores, limit: int = LIMIT, seed: int = 0) -> float:
    """Two-sided permutation test of the difference of two means.

    Args:
        a, b: Scores of the two arms, in any order.
        limit: Relabelings to go through: all where there are no more, else as many, drawn at random.
        seed: Seed of the draws.

    Returns:
        The share of relabelings whose difference is at least as large as the observed one, which is among them.

    Raises:
        ValueError: If an arm is empty or not finite, or the limit is less than 1.

    References:
        Phipson and Smyth, SAGMB 9, 2010, doi:10.2202/1544-6115.1585: the observed labels among those drawn.
    """
    _check_count("limit", limit)
    # scipy.stats.permutation_test refuses an arm of one score, and takes for ties what differs by a share of the
    # observed difference, which may be zero. Around the common mean, the sum of one arm tells the difference of both.
    scores = np.concatenate([np.sort(_scores("a", a)), np.sort(_scores("b", b))])  # runs end in any order
    n, tie = len(a), 1e-12 * np.abs(scores).max()
    scores -= scores.mean()
    observed = abs(scores[:n].sum())
    if is_exact(n, len(b), limit):
        sums = np.array(list(itertools.combinations(scores, n))).sum(1)
    else:
        drawn = np.random.default_rng(seed).permuted(np.tile(scores, (limit, 1)), axis=1)
        sums = np.append(drawn[:, :n].sum(1), observed)
    return float(np.mean(np.abs(sums) >= observed - tie))


def is_exact(n_a: int, n_b: int, limit: int = LIMIT) -> bool:
    """Whether `permutation` goes through all relabelings of arms of these sizes."""
    return math.comb(n_a + n_b, n_a) <= limit


def holm(p: Sequence[float]) -> list[float]:
    """Adjust the p-values of several tests: whoever goes by them finds anything false no more often than the level.

    Args:
        p: One p-value for each test.

    Returns:
        The adjusted p-values, in the same order.

    Raises:
        ValueError: If there is none, or one is not between 0 and 1.

    References:
        Holm, Scandinavian Journal of Statistics 6, 1979, jstor.org/stable/4615733.
    """
    values = _scores("p", p)
    if values.min() < 0 or values.max() > 1:
        raise ValueError(f"stats: p must hold numbers from 0 to 1, got {values}. Give p-values, as the tests say them.")
    order = np.argsort(values)
    adjusted = np.maximum.accumulate(values[order] * np.arange(values.size, 0, -1))
    return np.minimum(adjusted, 1)[np.argsort(order)].tolist()


def smallest_p(n_a: int, n_b: int, tests: int = 1) -> float:
    """The smallest p that `permutation` can give arms of these sizes, adjusted by `holm` for a number of tests.

    Raises:
        ValueError: If a number is less than 1.
    """
    for name, count in (("n_a", n_a), ("n_b", n_b), ("tests", tests)):
        _check_count(name, count)
    if not is_exact(n_a, n_b):
        return min(1.0, tests / (LIMIT + 1))
    return min(1.0, tests * (2 if n_a == n_b else 1) / math.comb(n_a + n_b, n_a))  # arms of one size can change places


def seeds_needed(tests: int = 1, alpha: float = 0.05) -> int:
    """The smallest number of seeds, the same in both arms, with which `smallest_p` does not exceed alpha.

    Raises:
        ValueError: If no number is enough, since only so many relabelings are drawn.
    """
    _check_share("alpha", alpha)
    if tests > alpha * LIMIT:
        raise ValueError(f"stats: tests must not exceed {alpha * LIMIT:g} at alpha {alpha}, got {tests}. Compare less.")
    return next(n for n in itertools.count(1) if smallest_p(n, n, tests) <= alpha)


def power(effect: float, sd: float, n_a: int, n_b: int, alpha: float = 0.05) -> float:
    """The chance that a two-sided t test finds a true difference.

    Args:
        effect: The true difference of the means.
        sd: Standard deviation over seeds, the same in both arms.
        n_a, n_b: Seeds of the two arms.
        alpha: Level of the test.

    Returns:
        The chance, by the noncentral t distribution; alpha where the effect is zero.

    Raises:
        ValueError: If a number is out of its range, or no arm has two seeds.
    """
    _check_share("alpha", alpha)
    if min(n_a, n_b) < 1 or n_a + n_b < 3:
        raise ValueError(f"stats: n_a and n_b must be 1 or more, and 3 together, got {n_a}, {n_b}. Run more seeds.")
    if not (math.isfinite(effect) and 0 < sd < math.inf):
        raise ValueError(f"stats: effect and sd must be finite, and sd positive, got {effect}, {sd}. Give others.")
    freedom = n_a + n_b - 2
    shift = effect / (sd * math.sqrt(1 / n_a + 1 / n_b))
    critical = stats.t.isf(alpha / 2, freedom)
    return float(stats.nct.sf(critical, freedom, shift) + stats.nct.sf(critical, freedom, -shift))


def detectable(sd: float, n_a: int, n_b: int, alpha: float = 0.05, chance: float = 0.8) -> float:
    """The true difference that a two-sided t test finds with a given chance, the inverse of `power`.

    Args:
        sd, n_a, n_b, alpha: As for `power`; sd may be zero.
        chance: That of finding the difference.

    Returns:
        The difference, in the unit of sd.

    Raises:
        ValueError: As for `power`, or if the chance is not between alpha and 1.
    """
    if not 0 <= sd < math.inf:
        raise ValueError(f"stats: sd must be finite and not negative, got {sd}. Give that of an arm over seeds.")
    if not alpha < chance < 1:
        raise ValueError(f"stats: chance must be between alpha ({alpha}) and 1, got {chance}. Give 0.8, say.")
    largest = next(d for d in (2.0**k for k in itertools.count()) if power(d, 1, n_a, n_b, alpha) > chance)
    return sd * float(optimize.brentq(lambda d: power(d, 1, n_a, n_b, alpha) - chance, 0, largest))


def pooled_sd(arms: Sequence[Scores]) -> float:
    """The standard deviation within arms: the root of their mean variance, weighted by degrees of freedom.

    Raises:
        ValueError: If no arm has two scores, or one is empty or not finite.
    """
    samples = [_scores("arms", arm) for arm in arms]
    freedom = sum(arm.size - 1 for arm in samples)
    if freedom == 0:
        raise ValueError("stats: arms must hold an arm of two scores, got none. Run more seeds.")
    return math.sqrt(sum(arm.var() * arm.size for arm in samples) / freedom)


def percentile(samples: Scores, level: float = 0.95) -> tuple[float, float]:
    """The limits of the middle share, `level`, of a bootstrap distribution.

    Raises:
        ValueError: If there is no sample, one is not finite, or the level is not between 0 and 1.
    """
    _check_share("level", level)
    low, high = np.quantile(_scores("samples", samples), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _scores(name: str, values: Scores) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not array.size or not np.isfinite(array).all():
        raise ValueError(
            f"stats: {name} must be a list of finite numbers, at least one, got {array}. Leave out others."
        )
    return array


def _check_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"stats: {name} must be between 0 and 1, got {value}. Write 5 % as 0.05.")


def _check_count(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"stats: {name} must be 1 or more, got {value}. Give how many there are.")
