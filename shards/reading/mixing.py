"""Whose turn it is in a mixture of sets, by integer arithmetic alone.

Sets have whole-number shares a_0, a_1, ... of the draws. Of the draws that sets before i leave, j of them so far, set i
has had floor(j * a_i / (a_i + a_(i+1) + ...)); the last set has what is left. So after every a_0 + a_1 + ... draws each
set has had exactly its share, and in between it is never more than about 1 + ln(number of sets) draws away from it. Any
draw costs the same, and nothing is stored. Which sample of a set its m-th draw is, is that set's own order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from shards.errors import ConfigError

_LARGEST_SUM = 2**31  # of shares: products of two numbers below stay within 64 bits
_SCALE = 2**30  # that shares are rounded to where they do not fit


@dataclass(frozen=True)
class Stage:
    """Other weights later on."""

    from_sample: int  # the first draw they hold for, counted over all sets and ranks since the start
    weights: tuple[float, ...]  # one a set


@dataclass(frozen=True)
class Mixing:
    """How often each set is drawn from.

    Attributes:
        weights: one a set, in any unit; none: by the number of samples of each and `temperature`.
        temperature: 1 draws sets by their samples, so that every sample comes once an epoch; larger ones draw small
            sets more often (samples ** (1 / temperature)); infinity draws all equally often.
        stages: other weights later on.
    """

    weights: tuple[float, ...] = ()
    temperature: float = 1.0
    stages: tuple[Stage, ...] = ()

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ConfigError(f"temperature is {self.temperature}; expected a number above 0")
        if self.weights and self.temperature != 1:
            raise ConfigError(f"weights and temperature={self.temperature:g} both say how often; leave one out")
        begins = [stage.from_sample for stage in self.stages]
        if begins != sorted(set(begins)) or (begins and begins[0] < 1):
            raise ConfigError(f"stages begin at samples {begins}; expected ascending numbers from 1")

    def turns(self, sizes: Sequence[int]) -> Turns:
        """The rule for sets of so many samples.

        Raises:
            ConfigError: another number of weights, or weights that are none.
        """
        weights: Sequence[float] = self.weights
        if not weights:
            weights = [size if self.temperature == 1 else size ** (1 / self.temperature) for size in sizes]
        begins = (0, *(stage.from_sample for stage in self.stages))
        every = (weights, *(stage.weights for stage in self.stages))
        return Turns(begins, tuple(shares_of(one, len(sizes)) for one in every))


def weights_of(weights: Sequence[float | None]) -> tuple[float, ...]:
    """One for each set, or none at all. ConfigError where some sets have one and others have none."""
    given = [weight for weight in weights if weight is not None]
    if given and len(given) != len(weights):
        raise ConfigError(f"{len(given)} of {len(weights)} sets have a weight; give one to each, or to none")
    return tuple(given)


def shares_of(weights: Sequence[float], n_sets: int) -> tuple[int, ...]:
    """Whole numbers in the ratio of the weights: exactly for weights of few digits, else to 9 digits of their sum.

    Raises:
        ConfigError: another number of weights than of sets, one that is no number from 0, or all of them 0.
    """
    if len(weights) != n_sets:
        raise ConfigError(f"{len(weights)} weights ({_spelled(weights)}) for {n_sets} sets; give one for each")
    if not all(0 <= weight < math.inf for weight in weights) or not any(weights):
        raise ConfigError(f"weights are {_spelled(weights)}; expected numbers from 0, one of them above it")
    exact = [Fraction(repr(weight)) for weight in map(_plain, weights)]
    scale = math.lcm(*(one.denominator for one in exact))
    shares = [int(one * scale) for one in exact]
    if sum(shares) > _LARGEST_SUM:
        shares = [max(1, round(Fraction(share * _SCALE, sum(shares)))) if share else 0 for share in shares]
    divisor = math.gcd(*shares)
    return tuple(share // divisor for share in shares)


@dataclass(frozen=True)
class Turns:
    """Shares of S sets, `shares[n]` of them from draw `begins[n]` on."""

    begins: tuple[int, ...]
    shares: tuple[tuple[int, ...], ...]

    def counts(self, draws: np.ndarray) -> np.ndarray:
        """i64 [S, P]: how many draws each set has had when so many were made in all, i64 [P]."""
        draws = np.asarray(draws, np.int64)
        total = np.zeros((len(self.shares[0]), *draws.shape), np.int64)
        for number, (begin, shares) in enumerate(zip(self.begins, self.shares, strict=True)):
            left = np.maximum(draws - begin, 0)
            if number + 1 < len(self.begins):
                left = np.minimum(left, self.begins[number + 1] - begin)
            rest = sum(shares)
            for place, share in enumerate(shares):
                periods, within = np.divmod(left, max(rest, 1))
                had = periods * share + within * share // max(rest, 1)  # [P]
                total[place] += had
                left, rest = left - had, rest - share
        return total

    def of(self, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(which set [P], which of its own draws [P]) at draws i64 [P], both from 0."""
        before = self.counts(draws)
        which = np.argmax(self.counts(np.asarray(draws, np.int64) + 1) - before, axis=0)
        return which, np.take_along_axis(before, which[None], axis=0)[0]

    def most(self, n_draws: int) -> list[int]:
        """For each set, a bound on how many of any `n_draws` in a row are its own."""
        n_sets, slack = len(self.shares[0]), 2 * (2 + len(self.shares[0]).bit_length()) * len(self.begins)
        largest = [max(Fraction(shares[place], sum(shares)) for shares in self.shares) for place in range(n_sets)]
        return [min(n_draws, math.ceil(n_draws * share) + slack) if share else 0 for share in largest]


def _plain(weight: float) -> float:
    """Of NumPy's numbers, Python's, whose text is that of the number alone."""
    return int(weight) if float(weight).is_integer() else float(weight)


def _spelled(weights: Sequence[float]) -> str:
    return ", ".join(f"{weight:g}" for weight in weights)
