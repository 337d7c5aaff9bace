"""Losses that ask which target a prediction belongs to, and which sample a summary belongs to.

Sources: patch discrimination (Latent MIM, Wei et al. 2024) within a modality (OlmoEarth, arXiv
2511.13655), InfoNCE (van den Oord et al. 2018). All of it is computed in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from maestro_lab.errors import ParameterError

__all__ = ["TEMPERATURE", "TOKEN_LOSSES", "all_discrimination", "cosine_distance",
           "instance_contrast", "modality_all_discrimination", "modality_discrimination",
           "patch_discrimination", "token_losses"]  # fmt: skip

TEMPERATURE = 0.1
ALIKE = 0.999
"""Targets whose cosine is above this are no negatives of each other, where that is asked for."""

Tokens = Mapping[str, Tensor]


def _full_precision(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Switch autocast off: half precision inside these losses changes them noticeably."""

    def run(*arguments: Tensor, **options: bool) -> tuple[Tensor, Tensor]:
        with torch.autocast(arguments[0].device.type, enabled=False):
            return loss(*arguments, **options)

    return run


@_full_precision
def _surprise(
    predicted: Tensor, target: Tensor, counted: Tensor, *, spare_alike: bool = False
) -> tuple[Tensor, Tensor]:
    """Measure how hard each prediction finds its target among those of its row.

    Parameters
    ----------
    predicted, target
        (b, n, w).
    counted
        bool (b, n); the others take no part.
    spare_alike
        Leave out negatives that are like the target.

    Returns
    -------
    tuple
        float32 (b, n), and which tokens count (b, n): with ``spare_alike`` a row counts only if
        each of its tokens has a negative left, or it has just one token.
    """
    p, t = F.normalize(predicted.float(), dim=-1), F.normalize(target.float(), dim=-1)
    scores = p @ t.transpose(1, 2) / TEMPERATURE  # (b, n, n)
    out = ~counted[:, None, :]
    if spare_alike:
        itself = torch.eye(counted.shape[1], dtype=torch.bool, device=counted.device)
        out = out | ((t @ t.transpose(1, 2) > ALIKE) & ~itself)
        lonely = (out | itself).all(2) & counted & (counted.sum(1, keepdim=True) > 1)
        kept = counted & ~lonely.any(1, keepdim=True)
    else:
        kept = counted
    own = scores.diagonal(dim1=1, dim2=2)
    # Tokens that are not counted may have nothing at all to compare with: keep them finite.
    everything = scores.masked_fill(out & counted[:, :, None], -torch.inf).logsumexp(2)
    return 2 * TEMPERATURE * (everything - own), kept


def _row_mean(value: Tensor, kept: Tensor) -> Tensor:
    """Average over the kept tokens of each row, then over rows that have any."""
    count = kept.sum(1)
    rows = torch.where(kept, value, 0.0).sum(1) / count.clamp(min=1)
    return rows.sum() / (count > 0).sum().clamp(min=1)


def modality_discrimination(
    predicted: Tokens, target: Tokens, counted: Tokens, spare_alike: Collection[str] = ()
) -> dict[str, Tensor]:
    """Compare tokens with others of the same modality and sample.

    Parameters
    ----------
    predicted, target
        Modality to (b, n, w).
    counted
        Modality to bool (b, n): the predicted tokens.
    spare_alike
        Modalities in which negatives that are like the target are left out. A sample with a token
        that has no negative left is then skipped.

    Returns
    -------
    dict
        Modality to its loss: mean over tokens, then over samples that have any. The published
        loss is their sum.
    """
    return {
        name: _row_mean(
            *_surprise(
                predicted[name], target[name], counted[name], spare_alike=name in spare_alike
            )
        )
        for name in predicted
    }


def patch_discrimination(predicted: Tokens, target: Tokens, counted: Tokens) -> Tensor:
    """Compare tokens with all others of the same sample; arguments as above."""
    return _row_mean(*_surprise(*(_together(part) for part in (predicted, target, counted))))


def all_discrimination(predicted: Tokens, target: Tokens, counted: Tokens) -> Tensor:
    """Compare tokens with all others of the batch; each sample has the same weight."""
    return _whole_batch(*(_together(part) for part in (predicted, target, counted)))


def modality_all_discrimination(predicted: Tokens, target: Tokens, counted: Tokens) -> Tensor:
    """Compare tokens with all others of the same modality in the batch; summed over modalities."""
    return sum(_whole_batch(predicted[n], target[n], counted[n]) for n in predicted)


def cosine_distance(predicted: Tokens, target: Tokens, counted: Tokens) -> dict[str, Tensor]:
    """Compare tokens with their own targets alone, as one minus the cosine; arguments as above.

    Nothing tells targets apart, so a model that may choose its targets can make them all alike.
    """
    return {name: _apart(predicted[name], target[name], counted[name]) for name in predicted}


@_full_precision
def _apart(predicted: Tensor, target: Tensor, counted: Tensor) -> Tensor:
    away = 1 - F.cosine_similarity(predicted.float(), target.float(), dim=-1)
    return _row_mean(away, counted)


TOKEN_LOSSES = (
    "modality_discrimination",
    "patch_discrimination",
    "all_discrimination",
    "modality_all_discrimination",
    "cosine_distance",
)


def token_losses(
    name: str,
    predicted: Tokens,
    target: Tokens,
    counted: Tokens,
    spare_alike: Collection[str] = (),
) -> dict[str, Tensor]:
    """Compare predictions with targets in one of the ways in :data:`TOKEN_LOSSES`.

    Parameters
    ----------
    name
        Which way.
    predicted, target, counted, spare_alike
        As in :func:`modality_discrimination`, which alone can spare what is alike.

    Returns
    -------
    dict
        Modality to its loss, or ``tokens`` to that of all together.

    Raises
    ------
    ParameterError
        For an unknown name.
    """
    given = (predicted, target, counted)
    if name == "modality_discrimination":
        return modality_discrimination(*given, spare_alike)
    if name == "cosine_distance":
        return cosine_distance(*given)
    if name not in TOKEN_LOSSES:
        raise ParameterError("token_loss", expected=", ".join(TOKEN_LOSSES), found=repr(name))
    ways = {
        "patch_discrimination": patch_discrimination,
        "all_discrimination": all_discrimination,
        "modality_all_discrimination": modality_all_discrimination,
    }
    return {"tokens": ways[name](*given)}


def _together(parts: Tokens) -> Tensor:
    return torch.cat(list(parts.values()), dim=1)


def _whole_batch(predicted: Tensor, target: Tensor, counted: Tensor) -> Tensor:
    kept = (t[counted][None] for t in (predicted, target, counted))  # the others never take part
    value, _ = _surprise(*kept)
    weight = (counted / counted.sum(1, keepdim=True).clamp(min=1) / len(counted))[counted]
    return (value[0] * weight).sum()


def instance_contrast(one: Tensor, other: Tensor) -> Tensor:
    """Ask of each sample's summary which summary of the other view is the same sample's.

    Parameters
    ----------
    one, other
        (b, w), two views of the same samples.

    Returns
    -------
    Tensor
        The mean cross-entropy, in one direction.

    Examples
    --------
    >>> import torch
    >>> round(instance_contrast(torch.eye(2), torch.eye(2)).item(), 7)
    4.54e-05
    """
    with torch.autocast(one.device.type, enabled=False):
        a, b = F.normalize(one.float(), dim=-1), F.normalize(other.float(), dim=-1)
        return F.cross_entropy(a @ b.T / TEMPERATURE, torch.arange(len(a), device=a.device))
