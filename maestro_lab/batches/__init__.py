"""Cubes -> batches of tensors. The only room that knows both xarray and torch."""

from maestro_lab.batches.batch import Batch, Series
from maestro_lab.batches.contracts import contract_for, contract_of_entry
from maestro_lab.batches.dataset import CubeDataset
from maestro_lab.batches.fitting import check_contract, cut_for
from maestro_lab.batches.order import loader

__all__ = [
    "Batch",
    "CubeDataset",
    "Series",
    "check_contract",
    "contract_for",
    "contract_of_entry",
    "cut_for",
    "loader",
]
