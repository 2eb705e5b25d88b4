"""What each law makes of a record: rows for the fit, from the tokens that the model's layers really compute.

Legend: n sizes; a layer puts out `values` = tokens x channels numbers; values x cost of a token: a law's arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from atlasbench.analysis.scaling.closed_form import closed_form
from atlasbench.analysis.scaling.quantities import Quantity, find_claim_on, read_error, read_value
from atlasbench.analysis.scaling.samples import Samples, Vector
from atlasbench.core.compat import StrEnum
from atlasbench.core.laws import WINDOW_TOKENS, Law
from atlasbench.core.record import LayerGroup, Record

_PIXELS_PER_TOKEN = 256  # of a 16 px patch, where nothing better is known
_NOT_IN_LEVELS = ("stem", "head")  # what runs before the first and after the last level


class TokenSource(StrEnum):
    """Where the tokens of a series come from."""

    LAYERS = "layers"  # as computed, padding included
    STEM = "stem"  # as the stem hands them on; padding is not known
    PIXELS = "pixels"  # of the image; nothing else is known


def find_token_source(records: Sequence[Record]) -> TokenSource:
    """The best source that every record of a series has."""
    counts = [record.measurement.counts for record in records]
    if all(item is not None and _levels(item.layers) for item in counts):
        return TokenSource.LAYERS
    if all(item is not None and item.tokens for item in counts):
        return TokenSource.STEM
    return TokenSource.PIXELS


def finest_tokens(record: Record, source: TokenSource) -> int:
    """Tokens of the finest level that attends, or of the finest at all."""
    return max(group.tokens for group in _groups(record, source))


def build_samples(records: Sequence[Record], quantity: Quantity, source: TokenSource) -> Samples:
    """Samples of a quantity that every record has.

    Args:
        records: Smallest first.
        quantity: Which.
        source: Of the tokens; one that every record has.
    """

    def row(read: Callable[[Record], float]) -> Vector:
        return np.array([read(record) for record in records], dtype=float)

    growth = {law: row(partial(_arithmetic, source=source, law=law)) for law in Law}
    if (multi_scale := _multi_scale_row(records)) is not None:
        growth[Law.MULTI_SCALE] = multi_scale
    # Where all tokens are said to meet, a small map that is one window would hide just that.
    is_local = find_claim_on(records, quantity) is not Law.QUADRATIC
    windows = (partial(_in_windows, source=source),) if is_local else ()
    readers: Mapping[Quantity, tuple[Callable[[Record], float], ...]] = {
        Quantity.ATTENTION: windows,
        Quantity.TOTAL: (_linear_flops, *windows),
        Quantity.MEMORY: (_params, _pixels),
        Quantity.LATENCY: (lambda _: 1.0, _linear_flops),
    }
    base = [*map(row, readers[quantity]), growth.pop(Law.LINEAR)]
    return Samples(
        pixels=row(_pixels),
        values=row(lambda record: read_value(record, quantity) or 0.0),
        errors=row(lambda record: read_error(record, quantity)),
        base=np.stack(base),
        growth=growth,
    )


def _arithmetic(record: Record, *, source: TokenSource, law: Law) -> float:
    return sum(group.values * law.per_token(group.tokens) for group in _groups(record, source))


def _in_windows(record: Record, *, source: TokenSource) -> float:
    """N, where windows of the paper reach no farther than a map that is smaller than one."""
    return sum(group.values * min(group.tokens, WINDOW_TOKENS) for group in _groups(record, source))


def _groups(record: Record, source: TokenSource) -> Sequence[LayerGroup]:
    counts = record.measurement.counts
    if source is TokenSource.LAYERS and counts is not None:
        return _levels(counts.layers)
    tokens = counts.tokens if source is TokenSource.STEM and counts is not None else 0
    tokens = tokens or max(_pixels(record) // _PIXELS_PER_TOKEN, 1)
    return [LayerGroup(part="projections", tokens=tokens, values=tokens)]


def _levels(layers: Sequence[LayerGroup]) -> Sequence[LayerGroup]:
    """The layers that make queries, keys and values; where there are none, all between stem and head."""
    attending = [group for group in layers if group.part == "projections" and group.values]
    return attending or [group for group in layers if group.part not in _NOT_IN_LEVELS and group.values]


def _multi_scale_row(records: Sequence[Record]) -> Vector | None:
    """N K log_S N of an Atlas: its own closed form.

    K must be a constant: where no size has more than one window, the window counts in its nominal size, so that a
    window that grows with the image is not mistaken for one that does not.
    """
    forms = [form for record in records if (form := closed_form(record)) is not None]
    if len(forms) < len(records):
        return None
    has_scales = any(form.num_scales > 1 for form in forms)
    return np.array([form.flops if has_scales else form.nominal_flops for form in forms], dtype=float)


def _linear_flops(record: Record) -> float:
    """Products with weights: linear in the tokens they run on, whatever the model."""
    counts = record.measurement.counts
    return counts.flops - counts.flops_by_part.get("attention", 0) if counts is not None else _pixels(record)


def _params(record: Record) -> float:
    counts = record.measurement.counts
    return counts.params if counts is not None else 1.0


def _pixels(record: Record) -> int:
    return record.workload.resolution.pixels
