"""What did it learn? Probes on frozen features, never without trivial baselines and intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from maestro_lab.errors import ParameterError
from maestro_lab.training.scores import SCORES, bootstrap, bootstrap_difference, macro_f1
from maestro_lab.training.units import (
    Units,
    merge_places,
    rows_of,
    trivial_predictions,
    units,
)

__all__ = [
    "ALL_METHODS",
    "LEAST",
    "METHODS",
    "ProbeResult",
    "Units",
    "fit_probe",
    "listed",
    "merge_places",
    "methods_for",
    "metric_for",
    "probe",
    "probe_name",
    "trivial_predictions",
    "units",
]

METHODS = ("linear", "knn")
OLMOEARTH = ("linear_olmoearth", "knn_olmoearth")
ALL_METHODS = (*METHODS, "attentive", "logistic", *OLMOEARTH)
_NEIGHBOURS = 20
LEAST = 4
"""Training units that a probe needs."""


@dataclass
class ProbeResult:
    """Scores of several features under several probes.

    Parameters
    ----------
    scores
        One row for each (features, probe): score, low, high, test units, blocks they lie in.
    differences
        One row for each probe: by how much ``better`` is above ``worse`` on the same resampled
        blocks: difference, low, high.
    predictions
        (features, probe) to predictions of the test units, of the first of several draws.
    units
        What was predicted.
    metric
        Name of the score.
    """

    scores: pd.DataFrame
    differences: pd.DataFrame
    predictions: dict[tuple[str, str], np.ndarray]
    units: Units
    metric: str
    chosen: dict[tuple[str, str], str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"{self.scores.round(3)}\n\n{self.differences.round(3)}"

    def _repr_html_(self) -> str:
        return self.scores.round(3).to_html() + self.differences.round(3).to_html()

    def score(self, features: str, method: str) -> tuple[float, float, float]:
        """Return (score, low, high)."""
        row = self.scores.set_index(["features", "probe"]).loc[(features, method)]
        return float(row["score"]), float(row["low"]), float(row["high"])


def probe(
    features: Mapping[str, np.ndarray | Sequence[np.ndarray]],
    target: Units,
    *,
    methods: Sequence[str] = METHODS,
    compare: Sequence[tuple[str, str]] = (),
    metric: str | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> ProbeResult:
    """Fit probes on training units and score them on test units.

    Parameters
    ----------
    features
        Name to windows (place, location, f) from :func:`merge_places`, or to rows (unit, f). Of
        windows, a target that holds for the whole gets the mean over locations. A list of such
        arrays, one a random draw of the same thing (several encoders with random weights), is
        scored by its mean.
    target
        From :func:`units`. The linear probe chooses its penalty by cross-validation over the blocks
        of the training units.
    methods
        "linear" (ridge; for classes on one target of -1 and 1 a class, classes weighted alike),
        "knn" (20 cosine neighbours, the nearer the weightier), "attentive", which needs windows
        (:func:`~maestro_lab.training.attentive.predict_by_attention`), and for classes "logistic",
        which is much slower; "linear_olmoearth" and "knn_olmoearth", which are the published
        protocols :func:`~maestro_lab.training.protocols.predict_by_linear_head` and
        :func:`~maestro_lab.training.protocols.predict_by_neighbours`.
    compare
        Pairs (better, worse) whose difference is bootstrapped on the same blocks.
    metric
        One of :data:`~maestro_lab.training.scores.SCORES`; default "r2" for numbers, "macro_f1"
        for classes, "weighted_f1" for several labels a unit.
    draws
        Bootstrap draws; 95 % intervals resample whole blocks of test units.
    seed
        Of the bootstrap, "attentive" and "linear_olmoearth".
    """
    metric = metric_for(target, metric)
    test, train = target.split == "test", target.split == "train"
    if train.sum() < LEAST:
        raise ParameterError(
            "too little to fit a probe on",
            expected=f"at least {LEAST} training units",
            found=int(train.sum()),
            do="probe a cube with more samples",
        )
    truth, block = target.target[test], target.block[test]
    predictions: dict[tuple[str, str], list[np.ndarray]] = {}
    chosen = {}
    for name, given in features.items():
        for method in methods:
            runs = [fit_probe(method, one, target, metric, seed) for one in listed(given)]
            predictions[name, method] = [p for p, _ in runs]
            chosen[name, method] = runs[0][1]
    rows = []
    for (name, method), several in predictions.items():
        score, low, high = bootstrap(metric, truth, several, block, draws=draws, seed=seed)
        rows.append((name, method, score, low, high, int(test.sum()), len(np.unique(block))))
    differences = []
    for better, worse in compare:
        for method in methods:
            pair = predictions[better, method], predictions[worse, method]
            found = bootstrap_difference(metric, truth, *pair, block, draws=draws, seed=seed)
            differences.append((better, worse, method, *found))
    return ProbeResult(
        pd.DataFrame(
            rows, columns=["features", "probe", "score", "low", "high", "units", "blocks"]
        ),
        pd.DataFrame(
            differences, columns=["better", "worse", "probe", "difference", "low", "high"]
        ),
        {key: several[0] for key, several in predictions.items()},
        target,
        metric,
        chosen,
    )


def metric_for(target: Units, metric: str | None = None) -> str:
    """Return the score to use: the one that is named, or the usual one of the task."""
    classes = "macro_f1" if target.target.ndim == 1 else "weighted_f1"
    metric = metric or ("r2" if target.task == "regression" else classes)
    if metric not in SCORES:
        raise ParameterError("metric", expected=" | ".join(SCORES), found=repr(metric))
    return metric


def methods_for(task: str) -> list[str]:
    """Return the probes that there are for a task.

    Examples
    --------
    >>> "logistic" in methods_for("regression"), "logistic" in methods_for("classification")
    (False, True)
    """
    return [m for m in ALL_METHODS if m != "logistic" or task != "regression"]


def probe_name(method: str) -> str:
    """Return what to call a probe where people read it.

    Examples
    --------
    >>> probe_name("knn"), probe_name("knn_olmoearth")
    ('kNN probe', 'kNN probe (OlmoEarth)')
    """
    name = method.removesuffix("_olmoearth").replace("knn", "kNN")
    return f"{name} probe (OlmoEarth)" if method in OLMOEARTH else f"{name} probe"


def listed(given: np.ndarray | Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return one array of features, or several draws of them, as a list."""
    return [given] if isinstance(given, np.ndarray) else list(given)


def fit_probe(
    method: str, given: np.ndarray, target: Units, metric: str, seed: int
) -> tuple[np.ndarray, str]:
    """Fit one probe on the training units.

    Parameters
    ----------
    method, given, target, metric, seed
        As for :func:`probe`, of one array of features.

    Returns
    -------
    tuple
        Predictions (test unit, ...), and which settings were chosen, in words.
    """
    rows = rows_of(given, target)
    known = np.unique(target.target[target.split == "train"], axis=0)
    if (
        target.task == "classification"
        and len(known) == 1
        and method in (*METHODS, "attentive", "logistic")
    ):
        return trivial_predictions(target), "a single class to learn from"
    if method == "attentive":
        from maestro_lab.training.attentive import predict_by_attention

        return predict_by_attention(given, target, seed=seed)
    if method in OLMOEARTH:  # the only probes that need torch
        from maestro_lab.training.protocols import predict_by_linear_head, predict_by_neighbours

        if method == "knn_olmoearth":
            return predict_by_neighbours(rows, target), ""
        predictions, rate = predict_by_linear_head(rows, target, metric=metric, seed=seed)
        return predictions, f"lr {rate:g}"
    from sklearn.metrics import make_scorer
    from sklearn.model_selection import GridSearchCV, GroupKFold

    train, test = target.split == "train", target.split == "test"
    model, grid = _model(method, target, int(train.sum()))
    regression = target.task == "regression"
    scoring = "neg_mean_squared_error" if regression else make_scorer(macro_f1)
    if not grid:
        model.fit(rows[train], target.target[train])
        return model.predict(rows[test]), ""
    folds = min(5, len(np.unique(target.block[train])))
    search = GridSearchCV(model, grid, scoring=scoring, cv=GroupKFold(folds) if folds > 1 else 2)
    groups = target.block[train] if folds > 1 else None
    search.fit(rows[train], target.target[train], groups=groups)
    chosen = ", ".join(f"{k.split('__')[-1]} {v:g}" for k, v in search.best_params_.items())
    return search.predict(rows[test]), chosen


def _model(method: str, target: Units, train: int) -> tuple[object, dict[str, list[float]]]:
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = target.task == "regression"
    prepare = (SimpleImputer(keep_empty_features=True), StandardScaler())
    if method == "linear":
        model = Ridge() if regression else RidgeClassifier(class_weight="balanced")
        penalties = [float(a) for a in np.logspace(-2, 5, 8)]
        return make_pipeline(*prepare, model), {f"{type(model).__name__.lower()}__alpha": penalties}
    if method == "logistic" and not regression:
        model = LogisticRegression(max_iter=2000, class_weight="balanced")
        strengths = [float(c) for c in np.logspace(-4, 2, 7)]
        return make_pipeline(*prepare, model), {"logisticregression__C": strengths}
    if method != "knn":
        allowed = methods_for(target.task)
        raise ParameterError(
            f"probe for {target.task}", expected=" | ".join(allowed), found=repr(method)
        )
    kind = KNeighborsRegressor if regression else KNeighborsClassifier
    count = max(1, min(_NEIGHBOURS, train // 2))
    return make_pipeline(*prepare, kind(count, metric="cosine", weights="distance")), {}
