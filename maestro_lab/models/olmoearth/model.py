"""OlmoEarth, whole: predict a frozen random projection of what is hidden.

Source: arXiv 2511.13655 (Latent MIM Lite).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from maestro_lab.errors import ContractError, ParameterError
from maestro_lab.models.maestro import Output
from maestro_lab.models.masking import random_bits
from maestro_lab.models.olmoearth.blocks import RotaryAttention
from maestro_lab.models.olmoearth.config import OlmoEarthConfig
from maestro_lab.models.olmoearth.embedding import PatchEmbedding, drop_bands
from maestro_lab.models.olmoearth.encoder import (
    Encoded,
    Encoder,
    pool_spatial,
    visible_tokens,
)
from maestro_lab.models.olmoearth.losses import TOKEN_LOSSES, instance_contrast, token_losses
from maestro_lab.models.olmoearth.masking import STRATEGIES, draw_states
from maestro_lab.models.olmoearth.predictor import LatentPredictor
from maestro_lab.models.olmoearth.sample import PREDICTED, Layout, Sample, present_tokens
from maestro_lab.models.olmoearth.targets import Target

__all__ = ["OlmoEarth", "View"]

States = Mapping[str, Tensor]


@dataclass(frozen=True)
class View:
    """What one masking of a batch led to.

    Parameters
    ----------
    encoded
        The visible tokens.
    summary
        (b, w), for the comparison of samples.
    predicted
        Modality to (b, g, d, l, w), zero where nothing was predicted.
    losses
        Modality to the loss of its tokens, or ``tokens`` to that of all.
    """

    encoded: Encoded
    summary: Tensor
    predicted: dict[str, Tensor]
    losses: dict[str, Tensor]


class OlmoEarth(nn.Module):
    """The model: encode what is visible, predict the projection of what is hidden.

    Parameters
    ----------
    config
        What to build.

    Raises
    ------
    ParameterError
        If it names an unknown masking or loss.

    Examples
    --------
    >>> import torch
    >>> model = OlmoEarth(OlmoEarthConfig.of("v1.2", "nano")).eval()
    >>> when = torch.tensor([[[15, 5, 2020], [15, 6, 2020]]])
    >>> sample = Sample({"sentinel1": torch.rand(1, 2, 2, 8, 12)}, when, patch=4)
    >>> model.embed(sample).shape, model.embed(sample, spatial=True).shape
    (torch.Size([1, 128]), torch.Size([1, 6, 128]))
    """

    only_pretraining = ("predictor.", "target.", "encoder.summary.")
    """Beginnings of the names of parameters that embeddings do not depend on."""

    def __init__(self, config: OlmoEarthConfig) -> None:
        super().__init__()
        for what, known in (("masking", STRATEGIES), ("token_loss", TOKEN_LOSSES)):
            found = getattr(config, what)
            if found not in known:
                raise ParameterError(what, expected=", ".join(known), found=repr(found))
        self.config = config
        self.encoder = Encoder(config)
        self.predictor = LatentPredictor(config)
        self.apply(_initialise)
        self.target = Target(config, self.encoder.embedding)

    # -- without masks

    def encode(self, sample: Sample, states: States | None = None) -> Encoded:
        """Encode the visible tokens of a batch, of modalities that the encoder may see.

        Parameters
        ----------
        sample
            The input.
        states
            Modality to states of tokens (b, g, d, l). Default: all tokens with data are visible.

        Raises
        ------
        ContractError
            If the sample does not fit, or the states are of another shape.
        """
        layout = Layout.of(sample, self.config.modalities, self.config.seen)
        _check_states(states, layout)
        patches = self.encoder.embedding.patches(sample, layout.places)
        tokens = self.encoder.embed(patches, layout, sample.timestamps)
        if states is None:
            visible = layout.join(present_tokens(sample, self.config.modalities))
        else:
            visible = visible_tokens(states, layout)
        return self.encoder(tokens, layout, sample.timestamps, visible)

    def embed(
        self,
        sample: Sample,
        states: States | None = None,
        *,
        spatial: bool = False,
        empty: float = 0.0,
    ) -> Tensor:
        """Return the mean token of each sample (b, w), or ``spatial`` of each patch (b, l, w).

        Patches without any visible token have the value ``empty`` throughout.
        """
        encoded = self.encode(sample, states)
        if not spatial:
            return encoded.mean()
        seen = {n: t for n, t in encoded.by_modality().items() if self.config.modalities[n].spatial}
        visible = encoded.visible()
        there = torch.stack([visible[n].flatten(1, 2).any(1) for n in seen]).any(0)  # (b, l)
        return pool_spatial(seen, visible).masked_fill(~there[..., None], empty)

    def features(self, sample: Sample) -> dict[str, tuple[Tensor, Tensor]]:
        """Return every token with data, for heads: modality to (b, g, d, l, w), and what is there.

        What is there is bool (b, g, d, l); maps, which are never seen, are left out.
        """
        encoded = self.encode(sample)
        there = encoded.visible()
        return {name: (tokens, there[name]) for name, tokens in encoded.by_modality().items()}

    # -- pretraining

    def targets(self, sample: Sample, patches: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what is to be predicted of all tokens: modality to (b, g, d, l, w).

        Parameters
        ----------
        sample
            The input.
        patches
            Its patches, from :meth:`Embedding.patches`.
        """
        if self.config.target == "frozen":
            return self.target(patches)
        maps = {name: patches[name] for name in self.config.predicted_only if name in patches}
        return self.encode(sample).by_modality() | self.target(maps)

    def view(
        self, sample: Sample, states: States, tokens: Tensor, targets: Mapping[str, Tensor]
    ) -> View:
        """Encode, summarise and predict under one masking.

        Parameters
        ----------
        sample
            The input.
        states
            Modality to states of tokens (b, g, d, l), for all modalities of the sample.
        tokens
            (b, n, w), all tokens that may be seen, with their codes.
        targets
            From :meth:`targets`.
        """
        seen = self.layouts(sample)[0]
        encoded = self.encoder(tokens, seen, sample.timestamps, visible_tokens(states, seen))
        predicted = self.predict(sample, states, encoded)
        wanted = {name: state == PREDICTED for name, state in states.items()}
        losses = token_losses(
            self.config.token_loss,
            *({n: t[n].flatten(1, 3) for n in predicted} for t in (predicted, targets, wanted)),
            spare_alike=self.config.spare_alike,
        )
        return View(encoded, self.encoder.summarise(encoded), predicted, losses)

    def predict(self, sample: Sample, states: States, encoded: Encoded) -> dict[str, Tensor]:
        """Predict the tokens that ``states`` ask for.

        Parameters
        ----------
        sample, states
            The input, and states of all its tokens.
        encoded
            What the encoder made of it.

        Returns
        -------
        dict
            Modality to (b, g, d, l, w), zero where nothing was asked for.
        """
        whole = self.layouts(sample)[1]
        wanted = whole.join({name: states[name] == PREDICTED for name in whole.places})
        return self.predictor(encoded, whole, sample.timestamps, wanted).by_modality()

    def forward(
        self,
        sample: Sample,
        keys: Tensor | None = None,
        states: tuple[States, States] | None = None,
    ) -> Output:
        """Take a pretraining step: two maskings of the same samples.

        Parameters
        ----------
        sample
            The input.
        keys
            int64 (b,) from :func:`~maestro_lab.models.masking.keys_for`; masks are drawn from them.
        states
            Two maskings, in place of ``keys``.

        Returns
        -------
        Output
            The loss is the sum over modalities of the mean of both views, and the weighted
            comparison of samples, which is among the losses as ``samples``.
        """
        if states is None:
            states = self.draw_states(sample, keys)
        for each in states:
            _check_states(each, self.layouts(sample)[1])
        patches = self.encoder.embedding.patches(sample)
        targets = self.targets(sample, patches)
        tokens = [self._tokens(sample, patches)]
        tokens.append(self._tokens(sample, patches) if self._drops_bands else tokens[0])
        views = [self.view(sample, *each, targets) for each in zip(states, tokens, strict=True)]
        losses = {n: (views[0].losses[n] + views[1].losses[n]) / 2 for n in views[0].losses}
        contrast = instance_contrast(views[0].summary, views[1].summary)
        losses["samples"] = self.config.contrastive * contrast
        return Output(torch.stack(list(losses.values())).sum(), losses, dict(states[0]))

    def draw_states(self, sample: Sample, keys: Tensor) -> tuple[dict[str, Tensor], ...]:
        """Draw two maskings of a batch from keys (b,)."""
        present = present_tokens(sample, self.config.modalities)
        return tuple(
            draw_states(self.config.masking, each, present, self.config.predicted_only)
            for each in random_bits(keys, 2).unbind(1)
        )

    @property
    def _drops_bands(self) -> bool:
        return self.training and self.config.band_dropout > 0

    def layouts(self, sample: Sample) -> tuple[Layout, Layout]:
        """Return the layout of what may be seen, and of all; the former begins the latter."""
        order = (*self.config.seen, *self.config.predicted_only)
        return tuple(
            Layout.of(sample, self.config.modalities, names) for names in (self.config.seen, order)
        )

    def _tokens(self, sample: Sample, patches: Mapping[str, Tensor]) -> Tensor:
        """Embed what may be seen; bands are dropped anew each time."""
        layout = self.layouts(sample)[0]
        given = {name: patches[name] for name in layout.places}
        if self._drops_bands:
            rates = dict.fromkeys(self.config.dropout_modalities, self.config.band_dropout)
            given = drop_bands(given, rates)
        return self.encoder.embed(given, layout, sample.timestamps)


@torch.no_grad()
def _initialise(module: nn.Module) -> None:
    """Draw weights as published; called for the parts of a module before the module itself."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
    elif isinstance(module, RotaryAttention):
        for part in module.qkv.weight.chunk(3):  # three layers, as far as their fan goes
            nn.init.xavier_uniform_(part)
    elif isinstance(module, PatchEmbedding) and module.pixel is None:
        module.project.reset_parameters()  # a convolution keeps what torch draws


def _check_states(states: States | None, layout: Layout) -> None:
    """Refuse states that lack a modality or have another shape than its tokens."""
    for name, place in layout.places.items() if states is not None else ():
        found = tuple(states[name].shape[1:]) if name in states else "none"
        if found != place.shape:
            raise ContractError(
                f"{name}: states of its tokens",
                expected=f"(b, groups, dates, locations) = (b, {', '.join(map(str, place.shape))})",
                found=found,
            )
