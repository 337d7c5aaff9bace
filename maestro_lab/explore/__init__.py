"""Explorers for JupyterLab: live where there is somebody to move a slider, else still."""

from maestro_lab.explore.alike import SimilarityExplorer
from maestro_lab.explore.bands import BandExplorer
from maestro_lab.explore.cube import CubeExplorer
from maestro_lab.explore.guesses import ReconstructionExplorer

__all__ = ["BandExplorer", "CubeExplorer", "ReconstructionExplorer", "SimilarityExplorer"]
