"""Every figure can be saved as it will be: svg, pdf, png and data, without a warning."""

from io import BytesIO
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from maestro_lab import figures
from maestro_lab.bands import balance, groupings_to_weigh, stability, statistics_agreement
from maestro_lab.cubes.splits import leakage_distances
from maestro_lab.figures.embedding_space import EmbeddingSpace
from maestro_lab.figures.embedding_views import EmbeddingView
from maestro_lab.figures.sample_view import CubeView
from maestro_lab.figures.style import WIDTH
from maestro_lab.pictures import save_figure
from maestro_lab.training.class_scores import class_scores
from maestro_lab.training.error_table import error_table
from tests.explore.test_runs import made as made_table
from tests.figures.conftest import SAMPLES
from tests.figures.test_embedding_figures import made_embeddings, made_runs
from tests.figures.test_label_figures import made, made_tuning
from tests.figures.test_model_figures import METRICS
from tests.figures.test_probe_view import made_shots

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
    "cube_view": lambda f: figures.cube_view(
        f("cube"), CubeView(3, "s1", target="cover", pixel=(12.0, 33.0))
    ),
    "error_views": lambda f: figures.error_views(error_table(f("model"), f("data"), most=3)),
    "studio_view": lambda f: figures.studio_view(
        f("guesses")["s2"], number=3, date=1, way="visible", modality="s2", patch=2
    ),
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
    "class_score_bars": lambda f: figures.class_score_bars(class_scores(f("heights"), "encoder")),
    "error_map": lambda f: figures.error_map(
        f("covers"), f("cube"), SAMPLES, 3, features="encoder"
    ),
    "few_shot_curves": lambda f: figures.few_shot_curves(made_shots()),
    "leakage_histogram": lambda f: figures.leakage_histogram(leakage_distances(f("cube"))),
    "tuning_curves": lambda f: figures.tuning_curves(made_tuning()),
    "embedding_view": lambda f: figures.embedding_view(
        EmbeddingSpace(f("cube"), made_embeddings()), EmbeddingView(colour="height")
    ),
    "runs_view": lambda f: figures.runs_view(made_table(), parameter="ratio", colour="size"),
    "training_view": lambda f: figures.training_view(METRICS, guesses=f("guesses")),
}


def test_every_figure_is_tried_here():
    assert sorted(MAKERS) == sorted(figures.__all__)


def png(figure):
    """A figure as the bytes of a small png."""
    page = BytesIO()
    figure.savefig(page, format="png", dpi=60)
    return page.getvalue()


@pytest.mark.parametrize("name", MAKERS)
def test_a_figure_is_saved_for_papers_with_its_data(name, request, tmp_path):
    figure = MAKERS[name](request.getfixturevalue)
    assert isinstance(figure, Figure)
    data, svg, pdf, picture = save_figure(figure, tmp_path / name)
    assert data.suffix in (".csv", ".nc") and pdf.read_bytes().startswith(b"%PDF")
    ElementTree.parse(svg)
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    assert pixels.shape[1] == round(150 * WIDTH), "as wide as the page"
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 3, "something is drawn"
