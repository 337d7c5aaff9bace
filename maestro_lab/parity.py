"""Hold our models against a folder of recorded outputs of the published code.

A folder holds ``cases.json`` (``configs`` of data sets and ``cases``), one safetensors file a case
with weights (``w.NAME``) and recorded tensors, and the inputs that the cases name. Nothing here
knows a case by name; what a file does not record is not compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from maestro_lab.batches import Batch, Series
from maestro_lab.contract import Contract, Modality
from maestro_lab.errors import ParameterError
from maestro_lab.models.config import LOSSES, MaestroConfig, Size
from maestro_lab.models.heads import Head, HeadConfig, head_loss
from maestro_lab.models.images import predict_images
from maestro_lab.models.maestro import Maestro
from maestro_lab.models.masking import split_mask
from maestro_lab.models.official import from_official, head_from_official, to_official
from maestro_lab.models.tokens import take

__all__ = ["CaseReport", "check_folder"]

TOLERANCE = 1e-5
GRADIENTS = 1e-3
"""Of norms of gradients: an absolute error below rounding may have either sign, and one such pixel
of 100,000 moves the gradient of l1 by 1e-4 (seen in the published vectors)."""

_TASKS = {
    "multilabel_classif": "multilabel",
    "classif": "classification",
    "segment": "segmentation",
}


@dataclass
class CaseReport:
    """How far one case is off.

    Parameters
    ----------
    name
        Its name.
    worst
        Quantity to the largest difference: absolute for tensors, relative for losses and the
        norms of gradients.
    """

    name: str
    worst: dict[str, float] = field(default_factory=dict)

    def note(self, quantity: str, difference: float) -> None:
        """Keep the largest difference of a quantity; one that is no number counts as infinite."""
        difference = float("inf") if difference != difference else float(difference)
        self.worst[quantity] = max(difference, self.worst.get(quantity, 0.0))

    def failed(self, tolerance: float = TOLERANCE) -> list[str]:
        """Return the quantities beyond tolerance; "everything" if nothing could be compared."""
        if not self.worst:
            return ["everything"]
        scale = GRADIENTS / TOLERANCE
        return [
            q for q, w in self.worst.items() if w > tolerance * (scale if q == "gradients" else 1)
        ]

    def __str__(self) -> str:
        inside = "  ".join(f"{q} {w:.1e}" for q, w in self.worst.items())
        return f"{self.name}: {inside or 'nothing to compare'}"


def check_folder(folder: str | Path) -> Iterator[CaseReport]:
    """Compare every case of a folder, one after the other.

    Parameters
    ----------
    folder
        With ``cases.json`` and the files it names, or with folders of OlmoEarth models.

    Yields
    ------
    CaseReport
        One a case.

    Raises
    ------
    ParameterError
        If the folder holds no oracles, or a file is missing or damaged.
    """
    folder = Path(folder).expanduser()
    from maestro_lab.parity_olmoearth import check_olmoearth, olmoearth_folders

    for model in (models := olmoearth_folders(folder)):
        yield from check_olmoearth(model)
    if models:
        return
    try:
        content = json.loads((folder / "cases.json").read_text(encoding="utf-8"))
        configs, cases = content["configs"], content["cases"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ParameterError(
            f"{folder} holds no oracles",
            expected="cases.json with configs and cases",
            found=f"{type(error).__name__}: {error}",
        ) from error
    for name, case in cases.items():
        tensors, inputs = (_load(folder / f"{f}.safetensors") for f in (name, case["inputs"]))
        data = str(case["inputs"]).removesuffix("_inputs")
        if data not in configs:
            raise ParameterError(
                f"{name}: no config of its inputs", expected=", ".join(configs), found=data
            )
        yield _Case(name, case, configs[data], tensors, inputs).compare()


def _load(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ParameterError(
            f"{path} cannot be read", expected="a safetensors file", found=error
        ) from error


def contract_of(config: Mapping[str, Any], inputs: Mapping[str, Tensor]) -> Contract:
    """Turn the description of a data set into a contract; rasters tell their native size."""
    modalities = {}
    for name, m in config.items():
        if name.startswith("_"):
            continue
        groups = _channels(m["bands"])
        bands = [f"band{c}" for group in groups for c in group]
        token_groups = [[f"band{c}" for c in group] for group in groups]
        left = iter(bands)
        counts = m.get("norm_bands") or [len(group) for group in groups]
        modalities[name] = Modality(
            tuple(bands), "DN", gsd=1, pixels=inputs[name].shape[-1], size=m["image_size"],
            patch=m["patch"], dates=m["num_dates"], token_groups=token_groups,
            norm_groups=[[next(left) for _ in range(k)] for k in counts],
            fusion_group=m.get("name_group") or "", embedding=m.get("name_embed") or "",
            resize=m.get("interpolate") or "nearest",
            rescale_elevation=bool(m.get("rescale_elev")),
        )  # fmt: skip
    return Contract(modalities, config["_grid_pos_enc"])


def _channels(bands: int | list[list[int]]) -> list[list[int]]:
    """Return the channels of each token band group."""
    return [list(range(bands))] if isinstance(bands, int) else [list(g) for g in bands]


def size_of(dims: Mapping[str, int]) -> Size:
    """Turn the recorded dimensions into a size."""
    return Size(
        dims["embed_dim"], dims["depth"], dims["heads"], dims["dim_head"],
        dims["embed_dim"] * dims["mlp_ratio"], dims["decoder_dim"], dims["decoder_depth"],
        dims["decoder_heads"], dims["decoder_dim_head"],
        dims["embed_dim"] * dims["decoder_mlp_ratio"],
    )  # fmt: skip


class _Case:
    """One recorded case: the model with its weights, its input, and what came out."""

    def __init__(
        self,
        name: str,
        case: Mapping[str, Any],
        config: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
        inputs: Mapping[str, Tensor],
    ) -> None:
        self.expected, self.data, self.tensors, self.inputs = case, config, tensors, inputs
        self.report = CaseReport(name)
        contract = contract_of(config, inputs)
        self.config = MaestroConfig(
            contract, size_of(case["dims"]), case["fusion_mode"], case["inter_depth"]
        )
        self.weights = {k[2:]: v.float() for k, v in tensors.items() if k.startswith("w.")}
        self.model = Maestro(self.config)
        self.model.load_state_dict(from_official(self.weights, contract.modalities))
        order = {
            n: [c for group in _channels(config[n]["bands"]) for c in group]
            for n in contract.modalities
        }
        series = {n: Series(inputs[n].float()[:, :, order[n]], inputs[f"{n}_dates"]) for n in order}
        reference = inputs["ref_date"]
        self.batch = Batch(series, reference[:, 0], torch.arange(len(reference)))
        self.masks = {
            s.name: tensors[f"pretrain.mask_rec.{s.name}"]
            for s in self.model.streams
            if f"pretrain.mask_rec.{s.name}" in tensors
        }

    def compare(self) -> CaseReport:
        """Compare all that is recorded."""
        masked = len(self.masks) == len(self.model.streams)
        with torch.no_grad():
            self._encoder()
            if masked:
                self._pretraining()
            self._heads()
        if masked:
            self._losses()
        return self.report

    def _near(self, quantity: str, key: str, found: Tensor) -> None:
        if key in self.tensors:
            expected = self.tensors[key].float()
            self.report.note(quantity, (found.reshape(expected.shape) - expected).abs().max())

    def _relative(self, quantity: str, found: float, expected: float | None) -> None:
        if expected is not None:
            self.report.note(quantity, abs(found - expected) / max(abs(expected), 1e-7))

    def _encoder(self) -> None:
        sequences, _ = self.model.sequences(self.batch)
        for name, sequence in sequences.items():
            self._near("tokens", f"probe.tokens.{name}", sequence.tokens)
        for name, tokens in self.model.encode(self.batch).items():
            self._near("encoder", f"probe.enc.{name}", tokens)

    def _pretraining(self) -> None:
        model = self.model
        sequences, _ = model.sequences(self.batch)
        index = {n: split_mask(m, int(m[0].sum())) for n, m in self.masks.items()}
        visible = {n: take(s.tokens, index[n][0]) for n, s in sequences.items()}
        encoded = model.encode_visible(visible, dict.fromkeys(sequences))
        for stream in model.streams:
            name = stream.name
            self._near("visible tokens", f"pretrain.enc_visible.{name}", encoded[name])
            whole = model.decode(stream, encoded[name], sequences[name], *index[name], whole=True)
            self._near("decoder", f"pretrain.dec.{name}", whole)
        for name, pixels in predict_images(model, self.batch, self.masks).items():
            self._near("pixels", f"pretrain.pixels.{name}", pixels)

    def _losses(self) -> None:
        state = self.model.state_dict()
        for loss in (name for name in LOSSES if name in self.expected.get("losses", {})):
            model = Maestro(replace(self.config, loss=loss))
            model.load_state_dict(state)
            output = model(self.batch, masks=self.masks)
            self._relative("losses", output.loss.item(), self.expected["losses"][loss])
            each = self.expected.get("losses_per_modality", {}).get(loss, {})
            for name, value in each.items():
                self._relative("losses", output.losses[name].item(), value)
            norms = self.expected.get(f"grad_norm_{loss}")
            if norms:
                output.loss.backward()
                self._gradients(model, norms)

    def _gradients(self, model: Maestro, norms: Mapping[str, float | None]) -> None:
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        found = to_official(gradients, model.modalities)
        for name, norm in norms.items():
            if not name.startswith("heads.") and norm is not None:
                got = float(found[name].norm()) if name in found else float("nan")
                self.report.note("gradients", abs(got - norm) / max(norm, 1e-3))

    def _heads(self) -> None:
        features = self.model.features(self.batch)
        for reduce in ("attentive", "linear"):
            total, known = 0.0, False
            for name, target in self.data.get("_targets", {}).items():
                key = f"probe.logits_{reduce}.{name}"
                if key not in self.tensors:
                    continue
                head = self._head(name, target, reduce)
                answers = head(features)
                self._near("heads", key, answers)
                if name in self.inputs:
                    labels = self.inputs[name]
                    labels = labels[:, 0, 0] if labels.ndim == 5 else labels
                    total, known = total + head_loss(answers, labels, head.config).item(), True
            if known:
                self._relative("head losses", total, self.expected.get(f"loss_pred_{reduce}"))

    def _head(self, name: str, target: Mapping[str, Any], reduce: str) -> Head:
        reference = self.data.get("_ref_input") or ""
        task = _TASKS[target["type"]]
        config = HeadConfig(
            task, target["num_classes"], reduce, reference, target["target_image_size"] or 0,
            target["missing_val"],
        )  # fmt: skip
        grid = self.model.modalities[reference].grid if task == "segmentation" else 0
        head = Head(config, self.config.size.width, grid)
        head.load_state_dict(head_from_official(self.weights, name, reduce))
        return head
