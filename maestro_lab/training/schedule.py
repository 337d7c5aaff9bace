"""How fast to learn: the one-cycle schedule, and the momentum of averaged weights."""

from __future__ import annotations

import math

__all__ = ["cosine_decay", "ema_momentum", "max_lr", "one_cycle"]


def max_lr(base_lr: float, batch_size: int, accumulate: int = 1, devices: int = 1) -> float:
    """Scale the base learning rate with the square root of the batch.

    Source: MAESTRO; a batch of three samples has the base rate itself.

    Examples
    --------
    >>> round(max_lr(3e-5, 32) * 1e5, 3)
    9.798
    """
    return base_lr * math.sqrt(batch_size * accumulate * devices / 3.0)


def one_cycle(
    step: int,
    total: int,
    peak: float,
    *,
    warmup: float = 0.2,
    start_factor: float = 1e3,
    final_factor: float = 1e7,
) -> float:
    """Return the learning rate of a step: cosine up to the peak, cosine down to the end.

    The shape of Smith and Topin (2018) as torch's ``OneCycleLR`` draws it, but a pure function of
    the step, so a resumed run needs no scheduler state.

    Parameters
    ----------
    step
        From 0.
    total
        Steps in all.
    peak
        Highest rate.
    warmup
        Share of the steps spent rising.
    start_factor, final_factor
        The rate starts at peak / start_factor and ends at peak / final_factor.

    Examples
    --------
    >>> round(one_cycle(0, 50, 1.0), 9), one_cycle(9, 50, 1.0)
    (0.001, 1.0)
    """
    top = max(0.0, warmup * total - 1)
    if step <= top:
        return _cosine(peak / start_factor, peak, step / top if top > 0 else 1.0)
    return _cosine(peak, peak / final_factor, min(1.0, (step - top) / (total - 1 - top)))


def cosine_decay(
    step: int, total: int, peak: float, *, warmup: float = 0.1, final_factor: float = 10.0
) -> float:
    """Return the learning rate of a step: straight up from zero, cosine down to the end.

    Parameters
    ----------
    step
        From 0.
    total
        Steps in all.
    peak
        Highest rate, at the step after the rise.
    warmup
        Share of the steps spent rising.
    final_factor
        The rate ends at peak / final_factor.

    Examples
    --------
    >>> [round(cosine_decay(step, 10, 1.0, warmup=0.2), 2) for step in (0, 1, 2, 9)]
    [0.0, 0.5, 1.0, 0.1]
    """
    rise = round(warmup * total)
    if step < rise:
        return peak * step / rise
    return _cosine(peak, peak / final_factor, (step - rise) / max(1, total - 1 - rise))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def ema_momentum(epochs: int) -> float:
    """Return the momentum of weights averaged once an epoch: a window of a fifth of the epochs.

    The published formula is negative below five epochs; it is held at 0 (no averaging) there.

    Examples
    --------
    >>> ema_momentum(20), ema_momentum(3)
    (0.75, 0.0)
    """
    return max(0.0, 1 - 1 / (0.2 * epochs))
