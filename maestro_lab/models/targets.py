"""Reconstruction targets: normalised per patch and band group, compared in token space."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maestro_lab.contract import Modality

__all__ = ["TargetNorm", "error_sum"]

_EPSILON = 1e-6


class TargetNorm(nn.Module):
    """Normalise each patch by mean and deviation of its own pixels, one band group at a time.

    Parameters
    ----------
    modality
        Its ``norm_groups`` say which bands are normalised together.

    Examples
    --------
    >>> import torch
    >>> m = Modality(("R", "N"), "DN", gsd=1, pixels=4, patch=2, norm_groups=(("R",), ("N",)))
    >>> normed = TargetNorm(m)(torch.rand(1, 4, 2, 4))
    >>> bool(normed.mean(-1).abs().max() < 1e-6)
    True
    """

    def __init__(self, modality: Modality) -> None:
        super().__init__()
        self.channels = [_slice([modality.bands.index(b) for b in g]) for g in modality.norm_groups]
        member = torch.zeros(len(modality.bands), len(modality.norm_groups))
        for k, group in enumerate(modality.norm_groups):
            for band in group:
                member[modality.bands.index(band), k] = 1.0
        self.register_buffer("member", member, persistent=False)  # (c, groups)

    def forward(self, patches: Tensor, valid: Tensor | None = None) -> Tensor:
        """Normalise patches.

        Parameters
        ----------
        patches
            (..., c, p*p).
        valid
            (..., p*p); only True pixels enter mean and deviation. None: all do.

        Returns
        -------
        Tensor
            (..., c, p*p): (value - mean) / sqrt(unbiased variance + 1e-6).
        """
        if valid is None:
            return self._normed(patches)
        mean, deviation = self.statistics(patches, valid)
        return (patches - mean) / deviation

    def _normed(self, patches: Tensor) -> Tensor:
        """Normalise patches without gaps: torch's layer norm, its variance made unbiased."""
        normed = torch.empty_like(patches)
        for chosen in self.channels:
            part = patches[..., chosen, :]
            count = part.shape[-2] * part.shape[-1]
            less = (count - 1) / count if count > 1 else 1.0
            scale = part.new_full(part.shape[-2:], less**0.5)
            normed[..., chosen, :] = F.layer_norm(
                part, part.shape[-2:], weight=scale, eps=_EPSILON * less
            )
        return normed

    def statistics(self, patches: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return mean and deviation of every band's group, each (..., c, 1)."""
        member, weight = self.member, None
        if valid is None:
            count = member.sum(0) * patches.shape[-1]  # (groups,)
        else:
            weight = valid[..., None, :].to(patches.dtype)
            count = weight.sum(-1) * member.sum(0)  # (..., groups)
        mean = self._spread(_sum(patches, weight) @ member / count.clamp(min=1))
        squares = _sum((patches - mean) ** 2, weight) @ member
        variance = squares / (count - 1).clamp(min=1)
        return mean, self._spread((variance + _EPSILON).sqrt())

    def _spread(self, per_group: Tensor) -> Tensor:
        return (per_group @ self.member.T)[..., None]


def _slice(chosen: list[int]) -> slice | list[int]:
    """Return neighbouring channels as a slice, which copies nothing."""
    together = list(range(chosen[0], chosen[0] + len(chosen)))
    return slice(chosen[0], chosen[-1] + 1) if chosen == together else chosen


def _sum(values: Tensor, weight: Tensor | None) -> Tensor:
    return values.sum(-1) if weight is None else (values * weight).sum(-1)


def error_sum(
    predicted: Tensor, target: Tensor, weight: Tensor | None, loss: str
) -> tuple[Tensor, Tensor]:
    """Sum the errors of predicted patches, and count them.

    Parameters
    ----------
    predicted, target
        (b, k, c, p*p); the target in float32, and so are the errors.
    weight
        (b, k, 1, p*p or 1), 0 for what is not to be scored; None scores all.
    loss
        "l1..." or "l2...".

    Returns
    -------
    tuple
        Sum of absolute or squared errors, and the number of values in it.
    """
    error = (predicted - target).abs() if loss.startswith("l1") else (predicted - target) ** 2
    if weight is None:
        total = error.sum()
        return total, torch.full_like(total, error.numel())
    return (error * weight).sum(), weight.expand_as(error).sum()
