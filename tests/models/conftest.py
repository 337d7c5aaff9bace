from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from maestro_lab.batches import Batch, Series
from maestro_lab.contract import Contract, Modality
from maestro_lab.models import kernels
from maestro_lab.models.config import MaestroConfig
from maestro_lab.models.maestro import Maestro
from maestro_lab.models.official import from_official
from maestro_lab.parity import size_of
from tests.conftest import VECTORS

BANDS = {
    "aerial": ("NIR", "R", "G", "B"),
    "s2": ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"),
    "s1_asc": ("VV", "VH"),
    "s1_des": ("VV", "VH"),
}


def contract_of(config: dict) -> Contract:
    """Turn the oracle's description of a data set into a contract."""
    modalities = {}
    for name, m in config.items():
        if name.startswith("_"):
            continue
        bands = iter(BANDS[name])
        norm = [[next(bands) for _ in range(k)] for k in m["norm_bands"]]
        modalities[name] = Modality(
            BANDS[name], "DN", gsd=1, pixels=m["image_size"], patch=m["patch"],
            dates=m["num_dates"], norm_groups=norm, fusion_group=m["name_group"] or "",
        )  # fmt: skip
    return Contract(modalities, config["_grid_pos_enc"])


class Oracle:
    """One recorded case: the model with its weights, its input, and what came out."""

    def __init__(self, name: str, vectors: dict) -> None:
        self.expected = vectors["cases"][name]
        self.tensors = load_file(VECTORS / f"{name}.safetensors")
        inputs = load_file(VECTORS / "treesat_inputs.safetensors")
        contract = contract_of(vectors["config"])
        self.config = MaestroConfig(
            contract,
            size_of(self.expected["dims"]),
            self.expected["fusion_mode"],
            self.expected["inter_depth"],
        )
        self.weights = {k[2:]: v.float() for k, v in self.tensors.items() if k.startswith("w.")}
        self.model = Maestro(self.config)
        self.model.load_state_dict(from_official(self.weights, contract.modalities))
        self.batch = Batch(
            {n: Series(inputs[n].float(), inputs[f"{n}_dates"]) for n in contract.modalities},
            inputs["ref_date"][:, 0],
            torch.arange(2),
        )
        self.masks = {
            s.name: self.tensors[f"pretrain.mask_rec.{s.name}"] for s in self.model.streams
        }


@pytest.fixture(params=["treesat_group_i0", "treesat_group_i1"])
def oracle(request, vectors) -> Oracle:
    return Oracle(request.param, vectors)


@pytest.fixture(params=[False, True], ids=["imitated", "hardware"])
def bf16(request, monkeypatch) -> bool:
    """Pretend that the processor has instructions for bfloat16, or has none."""
    monkeypatch.setattr(kernels, "_cpu_bf16", lambda: request.param)
    return request.param
