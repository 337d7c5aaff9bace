"""MAESTRO: a masked autoencoder for multimodal, multitemporal, multispectral data.

Source: arXiv 2508.10894. Written from the paper and a behavioural specification; deviations from
the published code are listed in ``docs/fidelity.md``.

Shapes: b samples, d dates, g token band groups, l locations, n tokens of a sequence, c bands,
p*p pixels of a patch, w channels of a token.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maestro_lab.contract import Modality
from maestro_lab.errors import ContractError
from maestro_lab.models.config import MaestroConfig, Size
from maestro_lab.models.kernels import Linear
from maestro_lab.models.layout import Member, Stream, streams_of
from maestro_lab.models.masking import keys_for, sample_mask, split_mask
from maestro_lab.models.placeholders import Placeholders
from maestro_lab.models.targets import TargetNorm, error_sum
from maestro_lab.models.tokens import (
    DATE_CHANNELS,
    PatchEmbedding,
    date_code,
    enough_valid,
    known,
    patchify,
    position_table,
    prepare,
    take,
    valid_patches,
)
from maestro_lab.models.transformer import Transformer

if TYPE_CHECKING:
    from maestro_lab.batches import Batch, Series

__all__ = ["Maestro", "Output"]


@dataclass
class Tokens:
    """A modality on its way in: patches (b, d, l, c, p*p), tokens (b, g, d, l, w), presence."""

    patches: Tensor
    embedded: Tensor
    present: Tensor | None  # (b, g, d, l)
    pixels: Tensor | None  # (b, d, l, p*p), False where a pixel is not valid


@dataclass
class Sequence:
    """A stream ready for its encoder: tokens (b, n, w), codes of dates (t, 8), what is there."""

    tokens: Tensor
    dates: Tensor
    present: Tensor | None


@dataclass
class Output:
    """What a pretraining step returns.

    Parameters
    ----------
    loss
        The weighted mean over modalities.
    losses
        The loss of each modality.
    masks
        Stream to bool (b, n): which tokens were masked.
    """

    loss: Tensor
    losses: dict[str, Tensor]
    masks: dict[str, Tensor]


class Maestro(nn.Module):
    """The model: embed, encode what is visible, decode what is masked, compare.

    Parameters
    ----------
    config
        What to build.

    Examples
    --------
    >>> from maestro_lab.contract import Contract, Modality
    >>> s2 = Modality(("B02", "B03", "B04"), "DN", gsd=10, pixels=6, patch=2, dates=4)
    >>> model = Maestro(MaestroConfig(Contract({"s2": s2}, 96), size="nano", joint_depth=2))
    >>> [stream.name for stream in model.streams]
    ['s2']
    """

    only_pretraining = ("to_decoder.", "decoders.", "mask_tokens.", "to_pixels.")
    """Beginnings of the names of parameters that embeddings do not depend on."""

    def __init__(self, config: MaestroConfig) -> None:
        super().__init__()
        self.config = config
        self.modalities: dict[str, Modality] = dict(config.contract.modalities)
        self.streams: list[Stream] = streams_of(self.modalities, config.fusion)
        size, joint = config.size, config.joint_depth
        self.embed, self.to_pixels = nn.ModuleDict(), nn.ModuleDict()
        self.norms = nn.ModuleDict()
        for name, m in self.modalities.items():
            self._add_modality(name, m, size)
        encoders = dict.fromkeys(stream.encoder for stream in self.streams)
        self.encoders = nn.ModuleDict({e: self._encoder(size.depth - joint) for e in encoders})
        self.joint = self._encoder(joint) if joint else None
        same = size.width == size.decoder_width
        self.to_decoder = nn.ModuleDict(
            {e: nn.Identity() if same else Linear(size.width, size.decoder_width) for e in encoders}
        )
        self.decoders = nn.ModuleDict({e: self._decoder() for e in encoders})
        self.mask_tokens = nn.ParameterDict(
            {
                name: torch.randn(len(m.token_groups), size.decoder_width)
                for name, m in self.modalities.items()
            }
        )

    def _add_modality(self, name: str, m: Modality, size: Size) -> None:
        shared = m.embedding or name
        values = [len(bands) * m.patch**2 for bands in m.token_groups]
        if shared not in self.embed:
            self.embed[shared] = nn.ModuleList(PatchEmbedding(v, size.width) for v in values)
            self.to_pixels[shared] = nn.ModuleList(Linear(size.decoder_width, v) for v in values)
        elif [e.project.in_features for e in self.embed[shared]] != values:
            raise ContractError(
                f"{name} cannot share the embedding {shared!r}",
                expected="the same bands a group and the same patch",
                found=f"{values} numbers a patch",
            )
        self.norms[name] = TargetNorm(m)
        cells = self.config.contract.position_cells
        for end, width in (("encoder", size.width), ("decoder", size.decoder_width)):
            table = position_table(width, cells, m.grid)
            self.register_buffer(f"position_{end}_{name}", table, persistent=False)

    def _encoder(self, depth: int) -> Transformer:
        s = self.config.size
        return Transformer(s.width, depth, s.heads, s.head_width, s.hidden)

    def _decoder(self) -> Transformer:
        s = self.config.size
        return Transformer(
            s.decoder_width,
            s.decoder_depth,
            s.decoder_heads,
            s.decoder_head_width,
            s.decoder_hidden,
        )

    # -- from pixels to sequences

    def embed_modality(self, name: str, series: Series) -> Tokens:
        """Cut a modality into patches and embed them."""
        m = self.modalities[name]
        images, valid = prepare(series.values, series.valid, m)
        patches = patchify(images, m.patch)  # (b, d, l, c, p*p)
        parts = []
        for bands, embed in zip(m.token_groups, self.embed[m.embedding or name], strict=True):
            chosen = [m.bands.index(b) for b in bands]
            whole = chosen == list(range(len(m.bands)))
            parts.append(embed(patches if whole else patches[..., chosen, :]))
        embedded = torch.stack(parts, dim=1)  # (b, g, d, l, w)
        if valid is None:
            return Tokens(patches, embedded, None, None)
        pixels, present = valid_patches(valid, m.patch)
        return Tokens(patches, embedded, present[:, None].expand(embedded.shape[:-1]), pixels)

    def _dates(self, name: str, batch: Batch) -> Tensor:
        """Codes of the dates of a modality: (b, d, 8)."""
        code = date_code(batch.series[name].dates, batch.ref_date)
        return (code * float(self.config.use_dates)).expand(len(batch.ref_date), -1, -1)

    def _sequence(self, stream: Stream, tokens: Mapping[str, Tokens], batch: Batch) -> Sequence:
        names = stream.modalities
        dates = {name: self._dates(name, batch) for name in names}
        present = known([tokens[n].present for n in names], [tokens[n].embedded for n in names])
        coded = []
        for name in names:
            table = getattr(self, f"position_encoder_{name}")
            when = F.pad(dates[name], (table.shape[1] - DATE_CHANNELS, 0))
            coded.append(tokens[name].embedded + (table + when[:, None, :, None, :]))
        return Sequence(
            stream.join(coded),
            torch.cat(list(dates.values()), dim=1).flatten(0, 1),
            None if present is None else stream.join(present),
        )

    def sequences(self, batch: Batch) -> tuple[dict[str, Sequence], dict[str, Tokens]]:
        """Embed a batch: the sequence of each stream, and the tokens of each modality."""
        tokens = {n: self.embed_modality(n, batch.series[n]) for n in self.modalities}
        return {s.name: self._sequence(s, tokens, batch) for s in self.streams}, tokens

    # -- encoder

    def encode_visible(
        self, visible: Mapping[str, Tensor], present: Mapping[str, Tensor | None]
    ) -> dict[str, Tensor]:
        """Encode the visible tokens (b, v, w) of every stream; absent ones are not attended to."""
        encoded = {
            s.name: self.encoders[s.encoder](visible[s.name], present[s.name]) for s in self.streams
        }
        if self.joint is None:
            return encoded
        parts = [encoded[s.name] for s in self.streams]
        mask = known([present[s.name] for s in self.streams], parts)
        joint = self.joint(
            torch.cat(parts, dim=1), None if mask is None else torch.cat(mask, dim=1)
        )
        joint = joint.split([part.shape[1] for part in parts], dim=1)
        return {s.name: part for s, part in zip(self.streams, joint, strict=True)}

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """Encode every token of a batch, nothing masked: stream to (b, n, w)."""
        sequences, _ = self.sequences(batch)
        return self.encode_visible(
            {name: s.tokens for name, s in sequences.items()},
            {name: s.present for name, s in sequences.items()},
        )

    def features(self, batch: Batch) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Encode a batch and sort the tokens by modality.

        Returns
        -------
        dict
            Modality to tokens (b, g, d, l, w) and to what is there (b, g, d, l), None for all.
        """
        sequences, tokens = self.sequences(batch)
        encoded = self.encode_visible(
            {name: s.tokens for name, s in sequences.items()},
            {name: s.present for name, s in sequences.items()},
        )
        found = {}
        for stream in self.streams:
            for name, part in stream.split(encoded[stream.name]).items():
                found[name] = (part, tokens[name].present)
        return {name: found[name] for name in self.modalities}

    # -- pretraining

    def draw_masks(
        self, keys: Tensor, present: Mapping[str, Tensor | None] | None = None
    ) -> dict[str, Tensor]:
        """Draw the mask of every stream: bool (b, n), or (b*g*d, l) for folded streams."""
        masks = {}
        for i, stream in enumerate(self.streams):
            key = keys_for(i, 0, keys)
            if stream.folded:
                images = torch.arange(stream.images, device=keys.device)
                key = torch.stack(
                    [keys_for(i, j + 1, keys) for j in range(len(images))], 1
                ).flatten()
            masks[stream.name] = sample_mask(
                key,
                stream.blocks,
                self.config.masking,
                structural=not stream.folded,
                present=None if present is None else present[stream.name],
            )
        return masks

    def forward(
        self,
        batch: Batch,
        keys: Tensor | None = None,
        masks: Mapping[str, Tensor] | None = None,
    ) -> Output:
        """Mask, encode, decode and score a batch.

        Parameters
        ----------
        batch
            Normalised values, dates and validity of each modality.
        keys
            int64 (b,) from :func:`~maestro_lab.models.masking.keys_for`; draws the masks.
        masks
            Masks given instead: stream to bool, True = masked.
        """
        sequences, tokens = self.sequences(batch)
        if masks is None:
            masks = self.draw_masks(keys, {name: s.present for name, s in sequences.items()})
        index = {s.name: split_mask(masks[s.name], self.masked_count(s)) for s in self.streams}
        visible = {name: take(s.tokens, index[name][0]) for name, s in sequences.items()}
        there = {name: take(s.present, index[name][0]) for name, s in sequences.items()}
        encoded = self.encode_visible(visible, there)
        scores: dict[str, tuple[Tensor, Tensor]] = {}
        for stream in self.streams:
            decoded = self.decode(
                stream,
                encoded[stream.name],
                sequences[stream.name],
                *index[stream.name],
                whole=False,
            )
            scores |= self._score(stream, decoded, index[stream.name][1], tokens)
        return self._total(scores, dict(masks))

    def masked_count(self, stream: Stream) -> int:
        """Return how many tokens of a sequence are masked."""
        images = 1 if stream.folded else stream.images
        return self.config.masking.count(stream.length, images)

    def decode(
        self,
        stream: Stream,
        encoded: Tensor,
        sequence: Sequence,
        visible: Tensor,
        masked: Tensor,
        *,
        whole: bool,
    ) -> Tensor:
        """Decode [visible, masked] tokens: the masked ones (b, m, w), or the whole sequence."""
        table, mask_tokens = self._decoder_tables(stream)
        hidden = Placeholders(table + mask_tokens, sequence.dates, *stream.origin(masked))
        code = Placeholders(table, sequence.dates, *stream.origin(visible)).tokens()
        seen = self.to_decoder[stream.encoder](encoded) + code
        x = torch.cat([seen, hidden.tokens()], dim=1)
        order = torch.cat([visible, masked], dim=1)
        there = take(sequence.present, order)
        decoder = self.decoders[stream.encoder]
        if not whole:
            return decoder(x, there, last=masked.shape[1], hidden=hidden)
        return take(decoder(x, there, hidden=hidden), order.argsort(dim=1))

    def _decoder_tables(self, stream: Stream) -> tuple[Tensor, Tensor]:
        """Positions and mask tokens of each band group and location: both (r, w)."""
        positions, mask_tokens = [], []
        for name, m in stream.members_of.items():
            groups = len(m.token_groups)
            table = getattr(self, f"position_decoder_{name}")
            positions.append(table.repeat(groups, 1))
            mask_tokens.append(self.mask_tokens[name].repeat_interleave(len(table), dim=0))
        return torch.cat(positions), torch.cat(mask_tokens)

    def _score(
        self, stream: Stream, decoded: Tensor, masked: Tensor, tokens: Mapping[str, Tokens]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Sum errors and counts over the masked tokens of each modality of a stream."""
        sums: dict[str, list[tuple[Tensor, Tensor]]] = {}
        for member in stream.members:
            m = self.modalities[member.modality]
            chosen, where, owned = stream.select(member, decoded, masked)
            head = self.to_pixels[m.embedding or member.modality][member.group]
            predicted = head(chosen).unflatten(-1, (-1, m.patch**2))  # (b, k, c, p*p)
            target, weight = self._target(member, tokens[member.modality], where, owned)
            sums.setdefault(member.modality, []).append(
                error_sum(predicted, target, weight, self.config.loss)
            )
        return {
            name: (sum(error for error, _ in parts), sum(count for _, count in parts))
            for name, parts in sums.items()
        }

    def _target(
        self, member: Member, tokens: Tokens, where: Tensor, owned: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Targets (b, k, c, p*p) of masked tokens at ``where``, and their weights."""
        m = self.modalities[member.modality]
        patches = take(tokens.patches.flatten(1, 2), where)
        pixels = None if tokens.pixels is None else take(tokens.pixels.flatten(1, 2), where)
        if self.config.loss.endswith("_norm"):
            patches = self.norms[member.modality](patches.float(), pixels)
        chosen = [m.bands.index(b) for b in m.token_groups[member.group]]
        if len(chosen) < len(m.bands) or chosen != sorted(chosen):
            patches = patches[:, :, chosen]
        weight = None if owned is None else owned[:, :, None, None].float()
        if pixels is not None:
            there = (pixels & enough_valid(pixels)[..., None])[:, :, None, :].float()
            weight = there if weight is None else weight * there
        return patches.float(), weight

    def _total(
        self, scores: Mapping[str, tuple[Tensor, Tensor]], masks: dict[str, Tensor]
    ) -> Output:
        losses, total, weights = {}, 0.0, 0.0
        for name, m in self.modalities.items():
            error, count = scores[name]
            losses[name] = error / count.clamp(min=1)
            weight = m.dates * m.grid**2 * (count > 0)
            total, weights = total + weight * losses[name], weights + weight
        return Output(total / weights.clamp(min=1), losses, masks)
