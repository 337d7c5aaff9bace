"""OlmoEarth through the notebooks, by parameter: pretrained, probed beside others, fine-tuned."""

import json

import pytest
import torch

import maestro_lab as ml
from maestro_lab.models.olmoearth.config import Size
from maestro_lab.published.olmoearth import ACCEPT
from tests.test_notebooks import LESSONS, lab

CUBE = ("-p", "cube", "landscape", "-p", "options", "{samples: 40, modalities: [s2, dem]}")
TWO, FOUR, FIVE = (LESSONS[k] for k in (1, 3, 4))

pytestmark = pytest.mark.notebooks


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """A run of notebook 02, and published weights of another model, in the notebooks after it."""
    top = tmp_path_factory.mktemp("chain")
    lab(
        "run", TWO, "--run", "out/2", *CUBE, "-p", "system", "olmoearth", "-p", "maps", "[dem]",
        "-p", "epochs", "2", "-p", "batch_size", "8", "-p", "seed", "5", "-p", "crops",
        "{budget: 60, patches: [2, 3]}", "-p", "olmoearth", "{masking: random, contrastive: 0.1}",
        "-p", "version", "v1.1", cwd=top,
    )  # fmt: skip
    config = ml.OlmoEarthConfig(
        ml.OlmoEarthConfig.of("v1").modalities, Size(32, 1, 4, 1), 0, rotary=False
    )
    torch.manual_seed(0)
    ml.export_olmoearth(ml.OlmoEarth(config), top / "published")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ACCEPT, "1")
        lab(
            "run", FOUR, "--run", "out/4", "-p", "pretrained", "out/2", "-p", "compare",
            "{published: published}", *CUBE, "-p", "target", "land_cover", "-p", "random_encoders",
            "1", "-p", "bootstrap", "50", "-p", "probes", "[linear, knn_olmoearth]", "-p", "patch",
            "3", cwd=top,
        )  # fmt: skip
    lab(
        "run", FIVE, "--run", "out/5", "-p", "pretrained", "out/2", "-p", "target", "land_cover",
        "-p", "fractions", "[0.5]", "-p", "seeds", "1", "-p", "steps", "4", "-p", "bootstrap",
        "50", "-p", "freeze", "0.2", "-p", "encoder_rate", "0.1", cwd=top,
    )  # fmt: skip
    return top / "out"


def results(folder):
    return json.loads((folder / "results.json").read_text())


def test_the_run_folder_brings_model_and_cube_back(chain):
    card = json.loads((chain / "2" / "model.json").read_text())
    assert card["kind"] == "olmoearth" and card["contract"]["srtm"]["predicted_only"]
    assert card["config"]["masking"] == "random" and card["config"]["contrastive"] == 0.1
    back = ml.pretrained(chain / "2")
    assert not back.model.config.rotary and back.seed == 5
    assert "sentinel2_l2a" in repr(back) and "100 %" in repr(back)
    assert "srtm" in (chain / "2" / "notebook.html").read_text()
    fresh = ml.build_model(back.model.config, 9)
    assert ml.begin_from(fresh, chain / "2").share == 1.0


def test_encoders_stand_in_one_table(chain):
    found = results(chain / "4")
    tables = ("seasonal medians", "random weights", "pretrained encoder",
              "published, random weights", "published")  # fmt: skip
    for probe in ("linear", "knn_olmoearth"):
        for table in tables:
            assert f"macro_f1 {probe} {table}" in found
        assert f"macro_f1 {probe} pretrained encoder - published" in found
    assert "kNN probe (OlmoEarth)" in found["verdict"]


def test_a_predictor_is_kept(chain):
    model, report = ml.load_model(chain / "5")
    assert report.share == 1.0 and model.config.grid == 3 and model.config.patch == 2
    assert "land_cover/average_iou" in results(chain / "5")


def test_the_licence_of_published_weights_is_asked_for(chain, monkeypatch):
    monkeypatch.delenv(ACCEPT, raising=False)
    with pytest.raises(ml.LabError, match=ACCEPT):
        ml.pretrained(chain.parent / "published", cube="landscape")
