import matplotlib
import torch

from maestro_lab.models.config import MaestroConfig
from maestro_lab.models.maestro import Maestro
from maestro_lab.models.masking import Masking

matplotlib.use("Agg")


def build(data, **masking):
    """Make a nano model for a data set, its weights always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Maestro(MaestroConfig(data.contract, "nano", masking=Masking(**masking))).eval()
