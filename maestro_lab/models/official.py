"""Names of the published MAESTRO checkpoints, and ours.

The published code keeps patch projections as convolutions and pixel heads as 1 x 1 convolutions
whose output runs (row, column, band); here both are linear layers over (band, row, column), so
one unfolding of the image serves the embedding and the target.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from einops import rearrange
from torch import Tensor

from maestro_lab.contract import Modality
from maestro_lab.errors import WeightsError

__all__ = ["from_official", "head_from_official", "head_to_official", "to_official"]

_BLOCK = {
    "0.norm": "attention.norm",
    "0.to_qkv": "attention.qkv",
    "0.to_out.0": "attention.out",
    "1.net.0": "mlp.norm",
    "1.net.1": "mlp.up",
    "1.net.4": "mlp.down",
}

_RULES = [
    (r"patch_embed\.(\w+)\.patchify_bands\.(\d+)\.conv\.(\w+)", r"embed.\1.\2.project.\3"),
    (r"patch_embed\.(\w+)\.patchify_bands\.(\d+)\.norm\.(\w+)", r"embed.\1.\2.\3"),
    (r"embed_to_rec\.(\w+)\.pixelify_bands\.(\d+)\.conv\.(\w+)", r"to_pixels.\1.\2.\3"),
    (r"enc_to_dec\.(\w+)\.(\w+)", r"to_decoder.\1.\2"),
    (r"mask_token\.(\w+)", r"mask_tokens.\1"),
    (r"(encoder|decoder)\.(\w+)\.norm\.(\w+)", r"\1s.\2.norm.\3"),
    (r"encoder_inter\.norm\.(\w+)", r"joint.norm.\1"),
    *(
        (
            rf"(encoder|decoder)\.(\w+)\.layers\.(\d+)\.{re.escape(a)}\.(\w+)",
            rf"\1s.\2.blocks.\3.{b}.\4",
        )
        for a, b in _BLOCK.items()
    ),
    *(
        (rf"encoder_inter\.layers\.(\d+)\.{re.escape(a)}\.(\w+)", rf"joint.blocks.\1.{b}.\2")
        for a, b in _BLOCK.items()
    ),
]


def _rename(name: str) -> str | None:
    for pattern, ours in _RULES:
        if re.fullmatch(pattern, name):
            return re.sub(pattern, ours, name)
    return None


def _patches(modalities: Mapping[str, Modality]) -> dict[str, int]:
    return {m.embedding or name: m.patch for name, m in modalities.items()}


def _patches_of(state: Mapping[str, Tensor]) -> dict[str, int]:
    found = {}
    for name, tensor in state.items():
        if name.startswith("patch_embed.") and tensor.ndim == 4:
            found[name.split(".")[1]] = tensor.shape[-1]
    return found


def from_official(
    state: Mapping[str, Tensor], modalities: Mapping[str, Modality] | None = None
) -> dict[str, Tensor]:
    """Translate a published state dict (names without ``model.``) into ours, without its heads.

    Parameters
    ----------
    state
        Official parameter name to tensor.
    modalities
        The model's modalities; their patch sizes tell how pixel heads are laid out. Without them
        the patch embeddings of the state tell.

    Raises
    ------
    WeightsError
        If a name belongs to no known part.
    """
    patches = _patches_of(state) if modalities is None else _patches(modalities)
    ours: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.startswith("heads."):
            continue
        new = _rename(name)
        if new is None:
            raise WeightsError(
                f"{name} is no parameter of a MAESTRO model",
                expected="patch_embed, encoder, encoder_inter, enc_to_dec, decoder ...",
                found=name,
            )
        part, embedding = new.split(".")[:2]
        if part == "embed" and tensor.ndim == 4:
            tensor = tensor.flatten(1)
        elif part == "to_pixels":
            p = patches[embedding]
            tensor = rearrange(tensor, "(p q c) ... -> (c p q) ...", p=p, q=p)
            tensor = tensor.flatten(1) if tensor.ndim > 1 else tensor
        elif part == "mask_tokens":
            tensor = tensor[0, :, 0, 0]
        ours[new] = tensor
    return ours


_HEAD = {
    "linear": "project",
    "conv": "project",
    "reduce.norm": "reduce.norm",
    "reduce.norm_fc": "reduce.norm_out",
    "reduce.to_kv": "reduce.kv",
}


def head_from_official(
    state: Mapping[str, Tensor], target: str, reduce: str = "attentive"
) -> dict[str, Tensor]:
    """Translate the published head of one target into the state of a :class:`~.heads.Head`.

    Parameters
    ----------
    state
        Official parameter name (without ``model.``) to tensor.
    target
        Name of the target.
    reduce
        "attentive"; "linear" leaves the parameters of the attention out.

    Raises
    ------
    WeightsError
        If there is no such head.
    """
    prefix = f"heads.{target}."
    ours = {}
    for name, tensor in state.items():
        part = name.removeprefix(prefix)
        if part == name or (part.startswith("reduce.") and reduce != "attentive"):
            continue
        if part == "reduce.query":
            ours[part] = tensor
            continue
        module, _, last = part.rpartition(".")
        if module not in _HEAD:
            raise WeightsError(
                f"{name} is no parameter of a MAESTRO head", expected=", ".join(_HEAD), found=part
            )
        tensor = tensor.flatten(1) if tensor.ndim == 4 else tensor
        ours[f"{_HEAD[module]}.{last}"] = tensor
    if not ours:
        heads = sorted({n.split(".")[1] for n in state if n.startswith("heads.")})
        raise WeightsError(
            f"no head for {target!r}", expected=", ".join(heads) or "a head", found=target
        )
    return ours


def to_official(
    state: Mapping[str, Tensor], modalities: Mapping[str, Modality]
) -> dict[str, Tensor]:
    """Translate our state dict into published names and shapes; undoes :func:`from_official`."""
    patches = _patches(modalities)
    back = {_BLOCK[a]: a for a in _BLOCK}
    official: dict[str, Tensor] = {}
    for name, tensor in state.items():
        part, *rest = name.split(".")
        new = name
        if part == "embed":
            kind = "conv" if rest[2] == "project" else "norm"
            new = f"patch_embed.{rest[0]}.patchify_bands.{rest[1]}.{kind}.{rest[-1]}"
            if kind == "conv" and tensor.ndim == 2:
                p = patches[rest[0]]
                tensor = rearrange(tensor, "w (c p q) -> w c p q", p=p, q=p)
        elif part == "to_pixels":
            p = patches[rest[0]]
            tensor = rearrange(tensor, "(c p q) ... -> (p q c) ...", p=p, q=p)
            tensor = tensor[:, :, None, None] if tensor.ndim == 2 else tensor
            new = f"embed_to_rec.{rest[0]}.pixelify_bands.{rest[1]}.conv.{rest[-1]}"
        elif part == "to_decoder":
            new = f"enc_to_dec.{'.'.join(rest)}"
        elif part == "mask_tokens":
            new, tensor = f"mask_token.{rest[0]}", tensor[None, :, None, None]
        else:
            new = name.replace("joint", "encoder_inter", 1).replace("coders.", "coder.", 1)
            new = new.replace(".blocks.", ".layers.")
            for ours, theirs in back.items():
                new = new.replace(f".{ours}.", f".{theirs}.")
        official[new] = tensor.contiguous() if isinstance(tensor, torch.Tensor) else tensor
    return official


def head_to_official(state: Mapping[str, Tensor], target: str, task: str) -> dict[str, Tensor]:
    """Translate the state of a head into published names; undoes :func:`head_from_official`.

    Parameters
    ----------
    state
        Of a :class:`~maestro_lab.models.heads.Head`.
    target
        Name of the target.
    task
        The head's; a segmentation projects with a 1 x 1 convolution.

    Examples
    --------
    >>> from maestro_lab.models.heads import Head, HeadConfig
    >>> head = Head(HeadConfig("multilabel", 15, "linear"), width=64)
    >>> list(head_to_official(head.state_dict(), "species", "multilabel"))
    ['heads.species.linear.weight', 'heads.species.linear.bias']
    """
    maps = task == "segmentation"
    back = {ours: theirs for theirs, ours in _HEAD.items() if ours != "project"}
    back["project"] = "conv" if maps else "linear"
    official = {}
    for name, tensor in state.items():
        module, _, last = name.rpartition(".")
        if module == "project" and last == "weight" and maps:
            tensor = tensor[:, :, None, None]
        official[f"heads.{target}.{back.get(module, module)}.{last}"] = tensor.contiguous()
    return official
