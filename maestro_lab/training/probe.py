"""What did it learn? Probes on frozen features, never without trivial baselines and intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from maestro_lab.errors import ParameterError
from maestro_lab.training.scores import SCORES, bootstrap, bootstrap_difference, macro_f1

__all__ = ["ProbeResult", "Units", "probe", "probe_name", "units"]

TASKS = ("regression", "classification")
METHODS = ("linear", "knn")
OLMOEARTH = ("linear_olmoearth", "knn_olmoearth")
ALL_METHODS = (*METHODS, "logistic", *OLMOEARTH)
_NEIGHBOURS = 20
_LEAST = 4  # training units


@dataclass(frozen=True)
class Units:
    """What a probe predicts, one row a unit (a location of a place, or a whole sample).

    Parameters
    ----------
    target
        (unit,) numbers or classes, or (unit, k) numbers or labels of 0 and 1.
    split
        (unit,) "train", "val" or "test"; only "linear_olmoearth" looks at "val".
    block
        (unit,) spatial block; resampled whole for intervals, kept whole in cross-validation.
    index
        (unit, 2) place and location of each unit.
    task
        "regression" or "classification".
    """

    target: np.ndarray
    split: np.ndarray
    block: np.ndarray
    index: np.ndarray
    task: str


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


def units(
    target: np.ndarray,
    *,
    split: np.ndarray,
    block: np.ndarray,
    place: np.ndarray | None = None,
    task: str = "regression",
) -> tuple[Units, Callable[[np.ndarray], np.ndarray]]:
    """Arrange targets as units, and return how to arrange features in the same way.

    Samples of one place (several years of one window) are averaged, features and targets alike:
    what is asked is a property of the place.

    Parameters
    ----------
    target
        (sample, location) or (sample, location, k).
    split, block
        Per sample.
    place
        Per sample; default: each its own.
    task
        "regression" or "classification" (the most frequent class of a place is kept).

    Returns
    -------
    tuple
        The units that are in train, val or test, and a function from features
        (sample, location, f) to rows (unit, f).
    """
    if task not in TASKS:
        raise ParameterError("task", expected=" | ".join(TASKS), found=repr(task))
    split = np.asarray(split).astype(str)
    place = np.arange(len(split)) if place is None else np.asarray(place)
    _, first, inverse = np.unique(place, return_index=True, return_inverse=True)
    used = np.flatnonzero(np.isin(split[first], ["train", "val", "test"]))
    locations = target.shape[1]

    def arrange(features: np.ndarray) -> np.ndarray:
        merged = _merge(features, inverse, len(first))[used]
        return merged.reshape(len(used) * locations, *merged.shape[2:])

    merge = _merge if task == "regression" else _majority
    wanted = merge(np.asarray(target), inverse, len(first))[used]
    wanted = wanted.reshape(len(used) * locations, *wanted.shape[2:])
    index = np.stack([np.repeat(used, locations), np.tile(np.arange(locations), len(used))], 1)
    known = np.isfinite(wanted.astype(float)).reshape(len(wanted), -1).all(1)
    kept = wanted[known]
    if task == "classification" and kept.dtype.kind == "f":
        kept = kept.astype(np.int64)  # classes are numbers again once the unknown are gone
    found = Units(
        kept,
        np.repeat(split[first][used], locations)[known],
        np.repeat(np.asarray(block)[first][used], locations)[known],
        index[known],
        task,
    )
    for name in ("train", "test"):
        if not (found.split == name).any():
            raise ParameterError(
                f"nothing to probe in split {name!r}", expected="at least one unit with a target"
            )
    return found, lambda features: arrange(features)[known]


def _merge(values: np.ndarray, place: np.ndarray, count: int) -> np.ndarray:
    """Average (sample, ...) over the samples of each place; NaN does not count."""
    there = np.isfinite(values)
    total = np.zeros((count, *values.shape[1:]))
    weight = np.zeros((count, *values.shape[1:]))
    np.add.at(total, place, np.where(there, values, 0))
    np.add.at(weight, place, there)
    return np.where(weight > 0, total / np.maximum(weight, 1), np.nan)


def _majority(values: np.ndarray, place: np.ndarray, count: int) -> np.ndarray:
    """Return the most frequent class of each place; NaN where no sample of it has one."""
    names = np.unique(values[np.isfinite(values.astype(float))])
    rows = []
    for k in range(count):
        mine = values[place == k]
        votes = np.stack([(mine == c).sum(0) for c in names])
        best = names[votes.argmax(0)]
        rows.append(best if votes.any(0).all() else np.where(votes.any(0), best, np.nan))
    return np.stack(rows)


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
        Name to rows (unit, f). A list of such arrays, one a random draw of the same thing (several
        encoders with random weights), is scored by its mean.
    target
        From :func:`units`. The linear probe chooses its penalty by cross-validation over the blocks
        of the training units.
    methods
        "linear" (ridge; for classes on one target of -1 and 1 a class, classes weighted alike),
        "knn" (20 cosine neighbours, the nearer the weightier), and for classes "logistic", which
        is much slower; "linear_olmoearth" and "knn_olmoearth", which are the published protocols
        :func:`~maestro_lab.training.protocols.predict_by_linear_head` and
        :func:`~maestro_lab.training.protocols.predict_by_neighbours`.
    compare
        Pairs (better, worse) whose difference is bootstrapped on the same blocks.
    metric
        One of :data:`~maestro_lab.training.scores.SCORES`; default "r2" for numbers, "macro_f1"
        for classes, "weighted_f1" for several labels a unit.
    draws
        Bootstrap draws; 95 % intervals resample whole blocks of test units.
    seed
        Of the bootstrap, and of "linear_olmoearth".
    """
    classes = "macro_f1" if target.target.ndim == 1 else "weighted_f1"
    metric = metric or ("r2" if target.task == "regression" else classes)
    if metric not in SCORES:
        raise ParameterError("metric", expected=" | ".join(SCORES), found=repr(metric))
    test, train = target.split == "test", target.split == "train"
    if train.sum() < _LEAST:
        raise ParameterError(
            "too little to fit a probe on",
            expected=f"at least {_LEAST} training units",
            found=int(train.sum()),
            do="probe a cube with more samples",
        )
    truth, block = target.target[test], target.block[test]
    predictions: dict[tuple[str, str], list[np.ndarray]] = {}
    chosen = {}
    for name, given in features.items():
        for method in methods:
            runs = [_fit(method, rows, target, metric, seed) for rows in _listed(given)]
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


def probe_name(method: str) -> str:
    """Return what to call a probe where people read it.

    Examples
    --------
    >>> probe_name("knn"), probe_name("knn_olmoearth")
    ('knn probe', 'knn probe (OlmoEarth)')
    """
    if method in OLMOEARTH:
        return f"{method.removesuffix('_olmoearth')} probe (OlmoEarth)"
    return f"{method} probe"


def _listed(given: np.ndarray | Sequence[np.ndarray]) -> list[np.ndarray]:
    return [given] if isinstance(given, np.ndarray) else list(given)


def _fit(
    method: str, rows: np.ndarray, target: Units, metric: str, seed: int
) -> tuple[np.ndarray, str]:
    """Fit one probe; return predictions of the test units and what was chosen."""
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
        allowed = [m for m in ALL_METHODS if m != "logistic" or not regression]
        raise ParameterError(
            f"probe for {target.task}", expected=" | ".join(allowed), found=repr(method)
        )
    kind = KNeighborsRegressor if regression else KNeighborsClassifier
    count = max(1, min(_NEIGHBOURS, train // 2))
    return make_pipeline(*prepare, kind(count, metric="cosine", weights="distance")), {}
