"""Numbers of a row: mean, spread, worst, and the difference to another row over the same pictures."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Spread:
    """How a score is spread over the finished cells of a row.

    Attributes:
        mean: Arithmetic mean.
        sd: Standard deviation of the sample; NaN for a single value.
        median: Median.
        worst: The least favourable value.
        count: Number of values.
    """

    mean: float
    sd: float
    median: float
    worst: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float], *, higher_is_better: bool) -> Spread:
        """Summarise at least one value."""
        return cls(
            mean=statistics.fmean(values),
            sd=statistics.stdev(values) if len(values) > 1 else math.nan,
            median=statistics.median(values),
            worst=min(values) if higher_is_better else max(values),
            count=len(values),
        )


@dataclass(frozen=True)
class Difference:
    """Mean of paired differences, with a confidence interval.

    Attributes:
        mean: Mean over pictures of this row's score less the other's.
        low: Lower end of the interval of 95 %; NaN for a single picture.
        high: Upper end.
        pictures: Number of pictures that both rows have.
    """

    mean: float
    low: float
    high: float
    pictures: int

    @classmethod
    def between(cls, ours: Mapping[str, Iterable[float]], theirs: Mapping[str, Iterable[float]]) -> Difference | None:
        """Student's t interval of the mean difference; the seeds of a picture are averaged first.

        Seeds of one picture are no independent evidence about other pictures, so pictures are what is counted.

        Args:
            ours: Values by picture.
            theirs: The same for the row that is compared with.

        Returns:
            The difference over the pictures that both have, or ``None`` if there is no such picture.
        """
        means = [{name: list(values) for name, values in side.items()} for side in (ours, theirs)]
        common = [name for name in means[0] if means[0][name] and means[1].get(name)]
        if not common:
            return None
        pairs = [statistics.fmean(means[0][name]) - statistics.fmean(means[1][name]) for name in common]
        mean = statistics.fmean(pairs)
        if len(pairs) < 2:
            return cls(mean, math.nan, math.nan, 1)
        half = (
            float(stats.t.ppf((1 + CONFIDENCE) / 2, len(pairs) - 1)) * statistics.stdev(pairs) / math.sqrt(len(pairs))
        )
        return cls(mean, mean - half, mean + half, len(pairs))
