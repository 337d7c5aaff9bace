"""Cut the OlmoEarth oracles to what a stranger needs: ``python slim_olmoearth.py FIXTURES``.

The oracles are outputs of the package ``olmoearth-pretrain-minimal`` 0.1.5 (Apache-2.0) on seeded
random weights and inputs: v1 with all visible, and v1.2 with masks, predictions and targets. The
target encoder is left out (it equals the encoder), and so is what the package makes of padding.
"""

import json
import sys
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file

HERE = Path(__file__).parent / "olmoearth"
CASES = {
    "micro_v1": ("visible_ps2_6px", ["sentinel2_l2a", "sentinel1", "landsat"]),
    "micro_v1_2": (
        "mim_ps4_8px",
        ["sentinel2_l2a", "sentinel1", "landsat", "worldcover", "srtm", "era5_10"],
    ),
}


def main(source: Path) -> None:
    for name, (case, modalities) in CASES.items():
        folder = HERE / name
        folder.mkdir(parents=True, exist_ok=True)
        config = json.loads((source / name / "config.json").read_text())
        known = config["model"]["encoder_config"]["supported_modality_names"]
        for part in ("encoder_config", "decoder_config"):
            config["model"][part]["supported_modality_names"] = modalities
        (folder / "config.json").write_text(json.dumps(config, indent=1))
        unknown = [f".{m}" for m in known if m not in modalities]
        state = {
            k: t
            for k, t in load_file(source / name / "state_dict.safetensors").items()
            if not k.startswith("target_encoder.") and not any(m in k for m in unknown)
        }
        save_file(state, folder / "state_dict.safetensors")
        with safe_open(source / name / f"{case}.safetensors", "pt") as file:
            kept = {k: file.get_tensor(k) for k in file.keys() if not k.startswith("out.padded")}  # noqa: SIM118
            save_file(kept, folder / f"{case}.safetensors", metadata=file.metadata())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
