"""Hold OlmoEarth models against recorded outputs of the published code.

A folder of a model holds ``config.json``, ``state_dict.safetensors`` under published names, and one
safetensors file a case: inputs (``in.``), outputs (``out.``), and for a step of training ``grad.``
and ``after_step.``. Nothing here knows a case by name; what a file does not record is not compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from maestro_lab.errors import ParameterError, WeightsError
from maestro_lab.models.olmoearth.config import MAPS, OlmoEarthConfig
from maestro_lab.models.olmoearth.encoder import Encoded, pool_spatial
from maestro_lab.models.olmoearth.model import OlmoEarth
from maestro_lab.models.olmoearth.official import (
    TARGET,
    from_official,
    sample_from_official,
    to_official,
)
from maestro_lab.models.olmoearth.sample import MISSING, PREDICTED, Layout, Sample
from maestro_lab.models.weights import load_into
from maestro_lab.parity import CaseReport
from maestro_lab.published.olmoearth import read_json
from maestro_lab.published.olmoearth_config import config_from_official

__all__ = ["OlmoEarthReport", "as_published", "check_olmoearth", "olmoearth_folders"]

ROTARY = 5.0
"""How much further off models that rotate may be: their angles reach hundreds of radians."""

_CONFIG, _STATE = "config.json", "state_dict.safetensors"
_UNSURE = 1e-6  # a gradient below it may have either sign, and the first step follows the sign
_STEP = {"lr": 1e-3, "weight_decay": 0.02, "betas": (0.9, 0.999), "eps": 1e-8}


@dataclass
class OlmoEarthReport(CaseReport):
    """How far one case is off.

    Parameters
    ----------
    scale
        What the tolerance is multiplied by.
    """

    scale: float = 1.0

    def failed(self, tolerance: float = 1e-5) -> list[str]:
        """Return the quantities beyond tolerance; "everything" if nothing could be compared."""
        return super().failed(tolerance * self.scale)


def olmoearth_folders(folder: Path) -> list[Path]:
    """Return the folders of models in a folder, which may be one itself."""
    candidates = [folder, *sorted(p for p in folder.glob("*") if p.is_dir())]
    return [p for p in candidates if (p / _STATE).is_file() and (p / _CONFIG).is_file()]


def check_olmoearth(folder: Path) -> Iterator[OlmoEarthReport]:
    """Compare every case in the folder of a model.

    Yields
    ------
    OlmoEarthReport
        One a case.

    Raises
    ------
    ParameterError
        If a file is damaged, or describes no model of this lab.
    """
    try:
        config = config_from_official(read_json(folder / _CONFIG))
        state = {n: t.float() for n, t in _load(folder / _STATE)[0].items()}
        beside = {n.replace("encoder.", TARGET, 1): t for n, t in state.items()
                  if n.startswith("encoder.")}  # fmt: skip
        model = OlmoEarth(replace(config, drop_path=0.0, band_dropout=0.0))
        weights = from_official(beside | state, model.state_dict())
        load_into(model, weights)
    except WeightsError as error:
        raise ParameterError(
            f"{folder.name}: {error.what}", expected=error.expected, found=error.found
        ) from error
    for path in sorted(folder.glob("*.safetensors")):
        if path.name != _STATE:
            load_into(model, weights)
            yield _Case(f"{folder.name} {path.stem}", model, *_load(path)).compare()


def _load(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ParameterError(
            f"{path} cannot be read", expected="a safetensors file", found=error
        ) from error


class _Case:
    """One recorded case."""

    def __init__(
        self,
        name: str,
        model: OlmoEarth,
        tensors: Mapping[str, Tensor],
        facts: Mapping[str, str],
    ) -> None:
        self.model, self.tensors, self.facts = model.eval(), tensors, facts
        self.report = OlmoEarthReport(name, scale=ROTARY if model.config.rotary else 1.0)
        masked = any(key.startswith("out.masked.") for key in tensors)
        self.prefix = "out.masked." if masked else "out."
        given = {k[3:]: t for k, t in tensors.items() if k.startswith("in.")}
        common = {k: t for k, t in given.items() if "." not in k}
        self.views = [
            self._inputs(common | {k[2:]: t for k, t in given.items() if k.startswith(view)})
            for view in ("a.", "b.")
            if any(k.startswith(view) for k in given)
        ] or [self._inputs(common)]

    def _inputs(self, tensors: Mapping[str, Tensor]) -> tuple[Sample, dict[str, Tensor]]:
        patch, gsd = int(self.facts["patch_size"]), float(self.facts.get("input_res", 10))
        return sample_from_official(tensors, self.model.config, patch, gsd)

    def compare(self) -> OlmoEarthReport:
        """Compare all that is recorded."""
        if len(self.views) > 1:
            self._step()
        else:
            with torch.no_grad():
                self._outputs(*self.views[0])
        return self.report

    def _near(self, quantity: str, key: str, found: Tensor, counted: Tensor | None = None) -> None:
        if key not in self.tensors:
            return
        expected = self.tensors[key].float()
        away = (found.reshape(expected.shape) - expected).abs()
        if counted is not None:
            away = away[counted]
        if away.numel():
            self.report.note(quantity, away.max())

    def _outputs(self, sample: Sample, states: Mapping[str, Tensor]) -> None:
        model, p = self.model, self.prefix
        encoded = model.encode(sample, states or None)
        tokens, visible = encoded.by_modality(), encoded.visible()
        for name, found in tokens.items():
            for kind in ("tokens", "latent"):
                counted = as_published(visible[name], encoded.layout, name)
                found_there = as_published(found, encoded.layout, name)
                self._near("tokens", f"{p}{kind}.{name}", found_there, counted)
        spatial = {n: t for n, t in tokens.items() if model.config.modalities[n].spatial}
        self._near("pooled", f"{p}pooled_instance_mean", encoded.mean())
        pooled = pool_spatial(spatial, visible, empty_as_zero=True)
        self._near("pooled", f"{p}pooled_spatial_mean", pooled)
        self._near("summary", f"{p}project_aggregated", model.encoder.summarise(encoded))
        if any(key.startswith(f"{p}decoded.") for key in self.tensors):
            self._predictions(sample, states, encoded)

    def _predictions(self, sample: Sample, states: Mapping[str, Tensor], encoded: Encoded) -> None:
        layout = self.model.layouts(sample)[1]
        predicted = self.model.predict(sample, states, encoded)
        targets = self.model.targets(sample, self.model.encoder.embedding.patches(sample))
        for name, target in targets.items():
            asked, there = (
                as_published(mask, layout, name)
                for mask in (states[name] == PREDICTED, states[name] != MISSING)
            )
            target = as_published(target, layout, name)
            found = as_published(predicted[name], layout, name)
            self._near("targets", f"out.target.{name}", target, there)
            self._near("predictions", f"{self.prefix}decoded.{name}", found, asked)

    def _step(self) -> None:
        """Take one step of training with two maskings."""
        model = self.model
        usual, told = model.config, self.facts
        model.config = _with_loss(usual, told)
        model.train().zero_grad()
        output = model(self.views[0][0], states=tuple(states for _, states in self.views))
        output.loss.backward()
        model.config = usual
        for key, found in (
            ("out.total_loss", output.loss),
            ("out.contrastive_loss_weighted", output.losses["samples"]),
        ):
            self._near("losses", key, found.detach())
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        for name, found in to_official(gradients, model.config).items():
            self._relative(f"grad.{name}", found)
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        self._relative("out.grad_norm", norm)
        trained = [p for p in model.parameters() if p.requires_grad]
        torch.optim.AdamW(trained, **_STEP).step()
        for name, found in to_official(model.state_dict(), model.config).items():
            gradient = self.tensors.get(f"grad.{name}")
            if gradient is not None:
                self._near("step", f"after_step.{name}", found, gradient.abs() > _UNSURE)

    def _relative(self, key: str, found: Tensor) -> None:
        if key in self.tensors:
            expected = self.tensors[key]
            away = (found - expected).norm() / expected.norm().clamp(min=1e-3)
            self.report.note("gradients", away)


def _with_loss(config: OlmoEarthConfig, facts: Mapping[str, str]) -> OlmoEarthConfig:
    """Return the configuration with the loss that a case was recorded with."""
    spared = MAPS if "masked_negatives" in facts.get("loss", "") else ()
    weight = float(facts.get("infonce_weight", config.contrastive))
    return replace(config, contrastive=weight, spare_alike=spared)


def as_published(values: Tensor, layout: Layout, name: str) -> Tensor:
    """Lay out (b, g, d, l, ...) as published: (b, rows, columns, d, g, ...), or less."""
    place = layout.places[name]
    values = values.movedim(3, 1).transpose(2, 3)  # (b, l, d, g, ...)
    if place.spatial:
        return values.unflatten(1, layout.grid)
    return values[:, 0] if place.dated else values[:, 0, 0]
