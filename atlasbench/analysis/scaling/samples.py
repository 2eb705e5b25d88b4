"""What a growth law is fitted to: one number for each size of a series, and what each law would make of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from atlasbench.core.laws import Law

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """One quantity at n sizes, smallest first.

    Attributes:
        pixels: (n,) of the image.
        values: (n,) above 0.
        errors: (n,) relative standard deviations.
        base: (p, n) rows that every law may use: what does not grow, and what is linear in the tokens.
        growth: For each law beyond N the row (n,) that it adds.
    """

    pixels: Vector
    values: Vector
    errors: Vector
    base: Vector
    growth: Mapping[Law, Vector]

    @property
    def count(self) -> int:
        """Sizes."""
        return len(self.values)

    def rows(self, law: Law) -> Vector:
        """The rows (p or p + 1, n) of a law; its own is the last."""
        return self.base if law is Law.LINEAR else np.vstack([self.base, self.growth[law]])

    def with_values(self, values: Vector) -> Samples:
        """The same sizes with other values and the same relative errors."""
        return replace(self, values=values)

    def without_last(self, count: int) -> Samples:
        """Without the largest sizes."""
        kept = slice(None, -count)
        return Samples(
            pixels=self.pixels[kept],
            values=self.values[kept],
            errors=self.errors[kept],
            base=self.base[:, kept],
            growth={law: row[kept] for law, row in self.growth.items()},
        )

    def with_larger(self) -> Samples:
        """With one more size of twice the largest side, for planning: rows go on as they grew, errors are typical.

        The value of the new size is that of the one before: give the samples others.
        """
        steps = np.log(4) / np.log(self.pixels[-1] / self.pixels[0])

        def longer(row: Vector) -> Vector:
            return np.append(row, row[-1] * (row[-1] / row[0]) ** steps if row[0] > 0 else row[-1])

        return Samples(
            pixels=np.append(self.pixels, 4 * self.pixels[-1]),
            values=np.append(self.values, self.values[-1]),
            errors=np.append(self.errors, np.median(self.errors)),
            base=np.stack([longer(row) for row in self.base]),
            growth={law: longer(row) for law, row in self.growth.items()},
        )
