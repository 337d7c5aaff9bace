"""Cut the numeric oracles down to what the tests need: ``python tests/vectors/slim.py FIXTURES``.

The oracles are outputs of the published MAESTRO code (IGNF/MAESTRO, commit 6a30075, Apache-2.0) on
seeded random weights and inputs. Weights and rasters are stored in bfloat16, exactly as they were
used in float32.
"""

import json
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file

HERE = Path(__file__).parent
CASES = ("treesat_group_i0", "treesat_group_i1")
BIG = (
    "pretrain.pixels.aerial",
    "pretrain.mask_struct",
    "probe.logits",
    "w.heads",
    "target_norm.aerial",
    "pos.flair.dim64.grid32",
    "pos.treesatai_ts.dim512.grid15",
)


def slim(source: Path, name: str) -> None:
    kept = {k: t for k, t in load_file(source / name).items() if not k.startswith(BIG)}
    save_file(kept, HERE / name)


def main(source: Path) -> None:
    for name in ("treesat_inputs", "standalone", *CASES):
        slim(source, f"{name}.safetensors")
    cases = json.loads((source / "cases.json").read_text())
    more = json.loads((source / "data_lr_metrics.json").read_text())
    masks = json.loads((source / "mask_statistics.json").read_text())
    plain = {
        "config": cases["configs"]["treesat"],
        "cases": {name: cases["cases"][name] for name in CASES},
        "lr": more["lr"],
        "ema_momentum_by_max_epochs": more["ema_momentum_by_max_epochs"],
        "masks": masks_of_interest(masks),
    }
    (HERE / "cases.json").write_text(json.dumps(plain, indent=1))


def masks_of_interest(masks: dict) -> dict:
    """Keep the statistics of 20000 masks whose ties were broken at random."""
    found = masks["treesatai_ts_group_20000_random_ties"]["modalities"]
    wanted = ("frac_mean", "frac_std", "p_date_fully_masked", "p_location_fully_masked")
    wanted += ("p_modality_fully_masked", "masked_locations_per_date_hist", "per_date_mean")
    return {
        f"{name} {part}": {k: v for k, v in statistics[part].items() if k in wanted}
        for name, statistics in found.items()
        for part in ("structural", "final")
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
