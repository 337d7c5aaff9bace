"""Draw the pictures of the README again: python docs/pictures.py RUNS [TREESATAI].

RUNS is the folder that ``make demo`` made; TREESATAI, if given, a folder of TreeSatAI-TS whose
radar and aerial images then stand beside the synthetic ones.
"""

import sys
from pathlib import Path

import maestro_lab as ml
from maestro_lab import figures

HERE = Path(__file__).parent / "pictures"
SHOWN = {
    "balance": "01_band_groups",
    "histograms": "01_band_groups",
    "reconstruction": "03_reconstruct",
    "scores": "04_probe",
    "embeddings": "04_probe",
}


def main(runs: str, treesatai: str = "") -> None:
    """Copy the figures of a demo, and draw synthetic data beside real ones."""
    for name, run in SHOWN.items():
        source = Path(runs) / run / "figures" / f"{name}.png"
        (HERE / source.name).write_bytes(source.read_bytes())
    real = {"Romania": ml.open_cube("romania")}
    if treesatai:
        real["TreeSatAI-TS"] = ml.open_cube("treesatai-ts", root=treesatai)
    figure = figures.synthetic_and_real(ml.open_cube("landscape", samples=160), real)
    figure.savefig(HERE / "realism.png", dpi=90, bbox_inches="tight")


if __name__ == "__main__":
    main(*sys.argv[1:])
