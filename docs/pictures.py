"""Draw the pictures of the README again: python docs/pictures.py RUNS [TREESATAI].

RUNS is the folder that ``make demo`` made; TREESATAI, if given, a folder of TreeSatAI-TS whose
radar and aerial images then stand beside the synthetic ones.
"""

import sys
from pathlib import Path

import maestro_lab as ml
from maestro_lab import explore, figures

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
    for name, explorer in explorers(runs).items():
        explorer.static().savefig(HERE / f"{name}.png", dpi=100)


def explorers(runs: str) -> dict[str, explore.Explorer]:
    """Open the explorers that the README shows, as one finds them by hand."""
    landscape = ml.in_memory(ml.open_cube("landscape", samples=60))
    lab = ml.pretrained(Path(runs) / "02_pretrain")
    held_out = ml.held_out(lab.cube, lab.model.config)
    everything = ml.dataset_for(lab.model.config, lab.cube, split=None)
    return {
        "cube_view": explore.CubeExplorer(
            landscape, sample=44, date="2021-07-10", target="land_cover", pixel=(32.0, 22.0)
        ),
        "studio_view": explore.ReconstructionStudio(
            lab.model, held_out, sample=3, hide="date", date=4, mask_ratio=0.5, way="visible"
        ),
        "embedding_view": explore.EmbeddingExplorer(
            lab.cube, ml.embed(lab.model, everything), colour="tree_cover"
        ),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
