"""Warm starts: weights of a model of one data set for a model of another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from maestro_lab.errors import WeightsError
from maestro_lab.models.systems import Model
from maestro_lab.models.weights import LoadReport

__all__ = ["warm_start"]


def warm_start(
    model: Model,
    state: Mapping[str, Tensor],
    *,
    names: Mapping[str, str] | None = None,
    fresh: Sequence[str] = (),
) -> LoadReport:
    """Take over every tensor that has a place in a model, under other names where told.

    Positions and dates are computed, not learnt, so windows and grids may differ; patches, bands
    and widths of what is taken over may not.

    Parameters
    ----------
    model
        Changed in place, unless an error is raised.
    state
        Parameter name to tensor, in our names.
    names
        The model's name of a modality, embedding or fusion group to the name it has in ``state``.
        Published: ``{"s1_asc": "s1", "s1_des": "s1"}`` from S2-NAIP to TreeSatAI-TS.
    fresh
        Parts that keep their random weights, such as "mask_tokens" or "embed.aerial".

    Returns
    -------
    LoadReport
        ``missing`` names what keeps its random weights, ``unexpected`` what had no place.

    Raises
    ------
    WeightsError
        If a shape differs, a name in ``names`` or ``fresh`` belongs to nothing, or nothing at all
        has a place.

    Examples
    --------
    >>> from maestro_lab.contract import Contract, Modality
    >>> from maestro_lab.models.config import MaestroConfig
    >>> from maestro_lab.models.systems import build_model
    >>> s1 = Modality(("VV", "VH"), "dB", gsd=10, pixels=6, patch=2, dates=4)
    >>> there, here = (
    ...     build_model(MaestroConfig(Contract({name: s1}, 6), size="nano"))
    ...     for name in ("s1", "s1_asc")
    ... )
    >>> warm_start(here, there.state_dict(), names={"s1_asc": "s1"}).share
    1.0
    """
    own, names = model.state_dict(), dict(names or {})
    _refuse_strangers(own, state, names, fresh)
    taken, used = {}, set()
    for name, tensor in own.items():
        if any(name == part or name.startswith(f"{part}.") for part in fresh):
            continue
        source = _source(name, names)
        if source not in state:
            continue
        if state[source].shape != tensor.shape:
            raise WeightsError(
                f"{name} cannot start from {source}",
                expected=f"shape {tuple(tensor.shape)}",
                found=f"shape {tuple(state[source].shape)}",
                do=f"let it begin anew with fresh={['.'.join(name.split('.')[:2])]}, or give the "
                "model the patch, bands and size of the weights",
            )
        taken[name] = state[source]
        used.add(source)
    if not taken:
        raise WeightsError(
            "nothing of these weights has a place in the model",
            expected=", ".join(dict.fromkeys(".".join(n.split(".")[:2]) for n in own)),
            found=", ".join(dict.fromkeys(".".join(n.split(".")[:2]) for n in state)) or "nothing",
            do="say with names={ours: theirs} what belongs together",
        )
    model.load_state_dict(taken, strict=False)
    numbers = sum(t.numel() for t in taken.values())
    return LoadReport(
        len(taken),
        len(own),
        numbers,
        numbers / sum(t.numel() for t in own.values()),
        tuple(name for name in own if name not in taken),
        tuple(name for name in state if name not in used),
    )


def _source(name: str, names: Mapping[str, str]) -> str:
    """Return the name a parameter has in the source: ``embed.s1_asc.0.bias`` has a second part."""
    part, dot, rest = name.partition(".")
    second, dot2, last = rest.partition(".")
    return f"{part}{dot}{names.get(second, second)}{dot2}{last}"


def _refuse_strangers(
    own: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    names: Mapping[str, str],
    fresh: Sequence[str],
) -> None:
    def second(tensors: Mapping[str, Tensor]) -> list[str]:
        parts = (name.split(".") for name in tensors)
        return list(dict.fromkeys(p[1] for p in parts if len(p) > 1 and not p[1].isdigit()))

    for what, given, known in (
        ("names: the model's", names, second(own)),
        ("names: the weights'", names.values(), second(state)),
    ):
        strange = [n for n in given if n not in known]
        if strange:
            raise WeightsError(f"{what} {strange[0]!r}", expected=", ".join(known), found=strange)
    for part in fresh:
        if not any(name == part or name.startswith(f"{part}.") for name in own):
            raise WeightsError(
                f"fresh: {part!r} is no part of the model",
                expected=", ".join(dict.fromkeys(n.split(".")[0] for n in own)),
                found=part,
            )
