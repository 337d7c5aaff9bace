"""Native files of the paper's data sets, packed, pretrained on and probed: as a user does it."""

import json

import numpy as np
import pytest

import maestro_lab as ml
from maestro_lab.cubes.contract import modality_names
from maestro_lab.datasets import check_cube
from maestro_lab.models.weights import load_model
from maestro_lab.runs.yaml12 import yaml_value
from tests.cubes.sources import layouts
from tests.test_notebooks import LESSONS, lab

_, PRETRAIN, _, PROBE, *_ = LESSONS
SERIES = "s2: 3, s1_asc: 2, s1_des: 2"


def names(start, stop):
    return [str(10_000 + k) for k in range(start, stop)]


def treesat(root):
    layouts.write_treesat(root, {"train": names(0, 8), "val": names(8, 10), "test": names(10, 16)})


def pastis(root):
    layouts.write_pastis(root, {"train": names(0, 1), "val": [], "test": names(1, 2)})


def flair_tiles():
    return {
        split: [f"D{area:03d}-2021_UU-S{area}-1_0-{k}" for k in range(3)]
        for area, split in ((1, "train"), (2, "val"), (3, "test"))
    }


def flair(root, version="flair-hub"):
    layouts.write_flair(root, flair_tiles(), version=version)


def naip(root):
    layouts.write_s2_naip(root)


LAYOUTS = {
    # entry: files, dates of a sample, samples and windows to train on, target
    "treesatai-ts": (treesat, SERIES, 8, "species"),
    "pastis-hd": (pastis, SERIES, 64, "pastis_seg"),
    "flair-hub": (flair, SERIES, 3, "cosia"),
    "flair2": (lambda root: flair(root, "flair2"), "s2: 3", 3, "cosia"),
    "s2-naip": (naip, "s2: 3, s1: 2", 25, None),
}


@pytest.mark.slow
@pytest.mark.notebooks
@pytest.mark.parametrize("entry", LAYOUTS)
def test_from_native_files_to_probes(entry, tmp_path):
    write, dates, windows, target = LAYOUTS[entry]
    root, store = tmp_path / "native files", tmp_path / "packed.zarr"
    write(root)
    lab("pack", entry, store, "-o", "root", root, cwd=tmp_path)
    assert "complete, undamaged" in lab("check", store, cwd=tmp_path)
    native, packed = ml.open_cube(entry, root=root), ml.open_cube(store)
    for name in modality_names(native):
        time = packed[name]["time"].values
        np.testing.assert_array_equal(native[name]["time"].values[:, : time.shape[1]], time)
        for variable in ("values", "valid"):
            expected = native[name][variable].values[:, : time.shape[1]]
            np.testing.assert_array_equal(packed[name][variable].values, expected)
    published = ml.contract_of_entry(entry)
    contract = ml.contract_for(packed, dates=yaml_value(f"{{{dates}}}"))
    for name, m in contract.modalities.items():
        assert (m.pixels, m.patch, m.size) == (
            published.modalities[name].pixels,
            published.modalities[name].patch,
            published.modalities[name].size,
        )
    assert len(ml.CubeDataset(packed, contract)) == windows
    (through_notebooks if entry == "treesatai-ts" else in_this_process)(
        store, contract, dates, target, tmp_path
    )


def in_this_process(store, contract, dates, target, tmp_path):
    """Pretrain on a few windows and probe, by the functions that the notebooks call."""
    config = ml.MaestroConfig(contract, size="nano")
    cube = check_cube(config, ml.open_cube(store))  # cut into the windows of the model
    model = ml.build_model(config, 0)
    train = ml.CubeDataset(cube, contract, samples=np.flatnonzero(cube["split"] == "train")[:4])
    training = ml.TrainingConfig(epochs=1, batch_size=4 if len(train) < 16 else 32)
    fitted = ml.pretrain(model, train, training, folder=tmp_path)
    assert np.isfinite(fitted.metrics[-1]["loss"])
    if target is None:
        return
    table = ml.features(model, cube, random_encoders=0, date_draws=1)
    result, _ = ml.probe_target(table, cube, target, methods=["knn"], draws=20)
    assert np.isfinite(result.score("pretrained encoder", "knn")[0])


def through_notebooks(store, contract, dates, target, tmp_path):
    """Pretrain and probe by the command line, as a user does."""
    run, probed = tmp_path / "pretrained", tmp_path / "probed"
    lab(
        "run", PRETRAIN, "--run", run, "-p", "cube", store, "-p", "dates", f"{{{dates}}}",
        "-p", "size", "nano", "-p", "epochs", 1, "-p", "batch_size", 4, cwd=tmp_path,
    )  # fmt: skip
    model, report = load_model(run)
    assert report.share == 1
    assert list(model.config.contract.modalities) == list(contract.modalities)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["epoch"] == 1 and np.isfinite(rows[-1]["loss"])
    lab(
        "run", PROBE, "--run", probed, "-p", "pretrained", run, "-p", "target", target,
        "-p", "random_encoders", 1, "-p", "date_draws", 1, "-p", "bootstrap", 50,
        "-p", "probes", "[linear]", cwd=tmp_path,
    )  # fmt: skip
    results = json.loads((probed / "results.json").read_text())
    score = [k for k in results if k.endswith("linear pretrained encoder")]
    assert len(score) == 1 and np.isfinite(results[score[0]]), results
