"""Every figure can be saved as it will be: svg and png, without a warning."""

from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from maestro_lab import figures
from maestro_lab.bands import balance, groupings_to_weigh, stability, statistics_agreement
from tests.figures.conftest import SAMPLES
from tests.figures.test_embedding_figures import made_embeddings, made_runs
from tests.figures.test_label_figures import made, made_tuning
from tests.figures.test_model_figures import METRICS

MAKERS = {
    "band_distances": lambda f: figures.band_distances(f("groupings")[:1]),
    "band_histograms": lambda f: figures.band_histograms(f("groupings")[:1]),
    "band_overview": lambda f: figures.band_overview(
        f("groupings")[0], stability(f("groupings")[0], "date", draws=5)
    ),
    "band_togetherness": lambda f: figures.band_togetherness(
        [stability(f("groupings")[0], "date", draws=5)]
    ),
    "collapse_curves": lambda f: figures.collapse_curves(made_runs()),
    "embedding_map": lambda f: figures.embedding_map(
        f("cube"), SAMPLES, np.random.default_rng(0).random((6, 9, 4)), 3
    ),
    "label_curves": lambda f: figures.label_curves(made()),
    "loss_curves": lambda f: figures.loss_curves(METRICS),
    "month_similarity": lambda f: figures.month_similarity(
        np.random.default_rng(0).random((3, 5, 4)), ["Jan", "Feb", "Mar"]
    ),
    "predicted_and_true": lambda f: figures.predicted_and_true(f("heights"), "encoder"),
    "probe_map": lambda f: figures.probe_map(
        f("heights"), f("cube"), SAMPLES, 3, features="encoder"
    ),
    "probe_scores": lambda f: figures.probe_scores(f("heights")),
    "reconstruction_gain": lambda f: figures.reconstruction_gain(f("scores")),
    "reconstructions": lambda f: figures.reconstructions({"s1": f("guesses")["s1"]}, 3),
    "sample_overview": lambda f: figures.sample_overview(f("cube"), 2, dates=3),
    "similarity_map": lambda f: figures.similarity_map(f("cube"), made_embeddings(), sample=1),
    "split_map": lambda f: figures.split_map(f("cube")),
    "statistics_agreement": lambda f: figures.statistics_agreement(
        {"s2": statistics_agreement(f("cube"), f("groupings")[0])}
    ),
    "synthetic_and_real": lambda f: figures.synthetic_and_real(f("cube"), {"real": f("cube")}),
    "target_balance": lambda f: figures.target_balance(
        {"s2": balance(f("cube"), "s2", groupings_to_weigh(f("groupings")[0].groups))}
    ),
    "tuning_curves": lambda f: figures.tuning_curves(made_tuning()),
}


def test_every_figure_is_tried_here():
    assert sorted(MAKERS) == sorted(figures.__all__)


@pytest.mark.parametrize("name", MAKERS)
def test_a_figure_is_saved_as_svg_and_png(name, request, tmp_path):
    figure = MAKERS[name](request.getfixturevalue)
    assert isinstance(figure, Figure)
    figure.savefig(tmp_path / f"{name}.svg", bbox_inches="tight")
    figure.savefig(tmp_path / f"{name}.png", dpi=50)
    ElementTree.parse(tmp_path / f"{name}.svg")
    pixels = np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB"))
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 3, "something is drawn"
