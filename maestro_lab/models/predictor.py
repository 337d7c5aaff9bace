"""An encoder with heads: what probing, fine-tuning and its supervised twin train."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from maestro_lab.errors import ParameterError
from maestro_lab.models.config import MaestroConfig
from maestro_lab.models.heads import Features, Head, HeadConfig
from maestro_lab.models.systems import SYSTEMS, Config, Model, read_config, system_of

if TYPE_CHECKING:
    from maestro_lab.batches import Batch
    from maestro_lab.models.olmoearth.sample import Sample

__all__ = ["Heads", "Predictor", "PredictorConfig", "build_predictor", "modalities_of"]


@dataclass(frozen=True)
class PredictorConfig:
    """An encoder and what its heads answer.

    Parameters
    ----------
    encoder
        The model; what only pretraining needs rests.
    heads
        Target to head.
    patch
        Pixels along the side of a patch, of OlmoEarth, which takes any.
    grid
        Patches along the side of a sample, of OlmoEarth.

    Raises
    ------
    ParameterError
        If there is no head, or the map of one refers to a modality that the encoder does not take.
    """

    encoder: Config
    heads: Mapping[str, HeadConfig]
    patch: int = 0
    grid: int = 0

    def __post_init__(self) -> None:
        if not self.heads:
            raise ParameterError("a predictor without heads", expected="at least one target")
        known = modalities_of(self.encoder)
        for name, head in self.heads.items():
            if head.size and head.reference not in known:
                raise ParameterError(
                    f"head {name}: reference", expected=", ".join(known), found=head.reference
                )

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain JSON data."""
        heads = {name: head.to_dict() for name, head in self.heads.items()}
        plain = {"encoder": self.encoder.to_dict(), "heads": heads}
        if isinstance(self.encoder, MaestroConfig):
            return plain
        return plain | {"system": system_of(self.encoder), "patch": self.patch, "grid": self.grid}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PredictorConfig:
        """Build a configuration from :meth:`to_dict` data."""
        heads = {name: HeadConfig(**head) for name, head in data["heads"].items()}
        encoder = read_config(data.get("system", "maestro"), data["encoder"])
        return cls(encoder, heads, data.get("patch", 0), data.get("grid", 0))

    def grid_of(self, head: HeadConfig) -> int:
        """Return patches along the side of what a head answers for; 0 for whole samples."""
        if not head.size:
            return 0
        return self.grid or self.encoder.contract.modalities[head.reference].grid


class Heads(nn.ModuleDict):
    """One head a target."""

    @classmethod
    def of(cls, config: PredictorConfig) -> Heads:
        """Build the heads of a predictor."""
        width = config.encoder.size.width
        return cls({n: Head(head, width, config.grid_of(head)) for n, head in config.heads.items()})

    def forward(self, features: Features) -> dict[str, Tensor]:
        """Answer from modality to tokens (b, g, d, l, w) and presence: target to answers."""
        return {name: head(features) for name, head in self.items()}

    def losses(
        self, answers: Mapping[str, Tensor], targets: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return the loss of each target."""
        return {name: head.loss(answers[name], targets[name]) for name, head in self.items()}


class Predictor(nn.Module):
    """An encoder with heads.

    Parameters
    ----------
    encoder
        A model, pretrained or not.
    config
        What the heads answer.

    Examples
    --------
    >>> from maestro_lab.contract import Contract, Modality
    >>> s2 = Modality(("B02", "B03"), "DN", gsd=10, pixels=6, patch=2, dates=4)
    >>> config = MaestroConfig(Contract({"s2": s2}, 6), size="nano")
    >>> heads = {"species": HeadConfig("multilabel", 6)}
    >>> predictor = build_predictor(PredictorConfig(config, heads))
    >>> list(predictor.heads)
    ['species']
    """

    def __init__(self, encoder: Model, config: PredictorConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.heads = Heads.of(config)

    def forward(self, batch: Batch | Sample) -> dict[str, Tensor]:
        """Answer from every token of a batch, nothing masked: target to answers."""
        return self.heads(self.encoder.features(batch))

    @contextmanager
    def decoder_at_rest(self) -> Iterator[None]:
        """Leave the parameters that only pretraining uses out of training."""
        resting = [
            p
            for name, p in self.encoder.named_parameters()
            if name.startswith(self.encoder.only_pretraining) and p.requires_grad
        ]
        for p in resting:
            p.requires_grad_(False)
        try:
            yield
        finally:
            for p in resting:
                p.requires_grad_(True)


def build_predictor(config: PredictorConfig) -> Predictor:
    """Build a predictor with random weights."""
    return Predictor(SYSTEMS[system_of(config.encoder)][1](config.encoder), config)


def modalities_of(config: Config) -> tuple[str, ...]:
    """Return the modalities that an encoder takes."""
    return tuple(config.contract.modalities if isinstance(config, MaestroConfig) else config.seen)
