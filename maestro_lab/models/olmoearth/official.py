"""Names and layouts of the published OlmoEarth system, and ours.

Published patch projections of v1 are convolutions, those of later versions linear layers over
(row, column, channel), as here. Queries, keys and values are three published layers and one here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from einops import rearrange
from torch import Tensor

from maestro_lab.models.olmoearth.config import BASE_PATCH, MODALITIES, OlmoEarthConfig
from maestro_lab.models.olmoearth.sample import UNUSED, Sample

__all__ = ["from_official", "linear_projections", "official_names", "sample_from_official",
           "to_official"]  # fmt: skip

TARGET = "target_encoder."
_STEMS = {"encoder": "encoder", "predictor": "decoder", "target": "target_encoder"}
_PLACES = {
    "codes.months": "composite_encodings.month_embed.weight",
    "codes.groups": "composite_encodings.per_modality_channel_embeddings",
    "transformer.norm": "norm",
    "summary": "project_and_aggregate.projection.0",
    "norm": "input_norm",
    "enter": "encoder_to_decoder_embed",
    "leave": "to_output_embed",
    "mask_token": "mask_token",
}
_IN_BLOCK = {
    "attention.norm": "norm1",
    "attention.out": "attn.proj",
    "attention.frequencies": "attn.rope_mixed_freqs",
    "mlp.norm": "norm2",
    "mlp.up": "mlp.fc1",
    "mlp.down": "mlp.fc2",
}
_LAYERS = {"project": "proj.", "pixel": "pixel_proj.0."}


def official_names(name: str) -> tuple[str, ...]:
    """Translate the name of one of our parameters; queries, keys and values are three.

    Examples
    --------
    >>> official_names("predictor.transformer.blocks.0.attention.qkv.bias")[1]
    'decoder.blocks.0.attn.k.bias'
    >>> official_names("encoder.embedding.sentinel1.0.project.weight")[0].split(".")[-3:]
    ['sentinel1__0', 'proj', 'weight']
    """
    stem, rest = name.split(".", 1)
    return tuple(f"{_STEMS[stem]}.{new}" for new in _inside(rest))


def _inside(name: str) -> tuple[str, ...]:
    first, *more = name.split(".")
    if first == "embedding":
        modality, group, *layer = more
        if len(layer) == 2:
            layer = [_LAYERS[layer[0]] + layer[1]]
        place = f"patch_embeddings.per_modality_embeddings.{modality}.{modality}__{group}"
        return (f"{place}.{layer[0]}",)
    if name.startswith("transformer.blocks."):
        _, number, half, layer, *last = more
        stem = f"blocks.{number}"
        if layer == "qkv":
            return tuple(f"{stem}.attn.{part}.{last[0]}" for part in "qkv")
        return (".".join([stem, _IN_BLOCK[f"{half}.{layer}"], *last]),)
    ours = next(p for p in _PLACES if name == p or name.startswith(f"{p}."))
    return (_PLACES[ours] + name.removeprefix(ours),)


def to_official(
    state: Mapping[str, Tensor], config: OlmoEarthConfig, *, whole_target: bool = False
) -> dict[str, Tensor]:
    """Translate our state dict into published names and shapes.

    Parameters
    ----------
    state
        Our parameter name to tensor.
    config
        Of the model. Without a layer that looks at each pixel, projections become convolutions.
    whole_target
        Give the target encoder, of which only the projection is ever used, copies of the
        encoder's other parameters, so that every published name is there.
    """
    official: dict[str, Tensor] = {}
    for name, tensor in state.items():
        names = official_names(name)
        if name.endswith("project.weight") and not config.pixel_width:
            p = BASE_PATCH
            tensor = rearrange(tensor, "w (p q c) -> w c p q", p=p, q=p)
        parts = tensor.chunk(len(names)) if len(names) > 1 else [tensor]
        official |= zip(names, parts, strict=True)
    if whole_target:
        encoder = {n: t for n, t in official.items() if n.startswith("encoder.")}
        official = {n.replace("encoder.", TARGET, 1): t for n, t in encoder.items()} | official
    return {name: t.contiguous() for name, t in official.items()}


def linear_projections(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn projections that are convolutions (w, c, 8, 8), told by their rank, into linear ones."""
    return {
        name: rearrange(t, "w c p q -> w (p q c)") if t.ndim == 4 else t
        for name, t in state.items()
    }


def from_official(state: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """Translate a published state dict into ours; undoes :func:`to_official`.

    Parameters
    ----------
    state
        Published parameter name to tensor.
    names
        Ours; what they need and the state lacks is left out.
    """
    state, ours = linear_projections(state), {}
    for name in names:
        theirs = official_names(name)
        if all(each in state for each in theirs):
            parts = [state[each] for each in theirs]
            ours[name] = parts[0] if len(parts) == 1 else torch.cat(parts)
    return ours


def sample_from_official(
    tensors: Mapping[str, Tensor], config: OlmoEarthConfig, patch: int, gsd: float = 10.0
) -> tuple[Sample, dict[str, Tensor]]:
    """Translate published inputs.

    Parameters
    ----------
    tensors
        Modality to values (b, h, w, d, c), (b, d, c) or (b, c), bands in published order;
        ``NAME_mask`` to states of pixels, with one channel a band group; ``timestamps`` (b, d, 3).
    config
        Of the model; other modalities are left out.
    patch, gsd
        Pixels along the side of a patch, metres along the side of a pixel.

    Returns
    -------
    tuple
        The sample, and modality to states of tokens (b, g, d, l) for those that have a mask. As
        published, the top left pixel of a patch speaks for it, and spare channels are ignored.
        What is only ever predicted is not visible.
    """
    values, states = {}, {}
    for name, m in config.modalities.items():
        if name not in tensors:
            continue
        given, mask = tensors[name], tensors.get(f"{name}_mask")
        if name in MODALITIES and m.bands != MODALITIES[name].bands:
            given = given[..., [MODALITIES[name].bands.index(band) for band in m.bands]]
        values[name] = rearrange(given, "b h w d c -> b d c h w") if m.spatial else given
        if mask is None:
            continue
        if m.spatial:
            mask = rearrange(mask[:, ::patch, ::patch], "b i j d g -> b g d (i j)")
        else:
            mask = mask.view(len(mask), -1, 1, mask.shape[-1]).movedim(-1, 1)
        states[name] = mask[:, : len(m.groups)].long()
        if name in config.predicted_only:
            states[name] = torch.where(states[name] == 0, UNUSED, states[name])
    return Sample(values, tensors["timestamps"].long(), patch, gsd), states
