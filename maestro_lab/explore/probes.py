"""The probe laboratory: one table of frozen features, asked in many ways."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import xarray as xr

from maestro_lab.batches.targets import target_task
from maestro_lab.cubes.contract import TARGETS
from maestro_lab.errors import ParameterError
from maestro_lab.explore.base import Explorer, check_cube
from maestro_lab.explore.controls import Choice, Switch
from maestro_lab.training.probe import ProbeResult, methods_for, probe_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from maestro_lab.batches.targets import Target
    from maestro_lab.training.few_shot import FewShot
    from maestro_lab.workflow import Features

__all__ = ["ProbeExplorer"]

VIEWS = (
    ("scores", "scores"),
    ("few labels", "few"),
    ("predictions", "predictions"),
    ("parts", "parts"),
    ("map of errors", "map"),
    ("distances", "leakage"),
)


class ProbeExplorer(Explorer):
    """Probes of frozen features, always beside trivial answers and with intervals.

    What was computed once is kept: features come from one table, and a probe is fitted when its
    target and kind are first chosen.

    Parameters
    ----------
    found
        From :func:`~maestro_lab.features`.
    cube
        The cube.
    draws
        Resamples of held-out blocks for 95 % intervals.
    **state
        What is shown first: ``view`` (scores, few, predictions, parts, map, leakage), ``target``,
        ``probe``, ``features`` (whose predictions are shown) and ``average`` (samples of one place
        averaged).

    Raises
    ------
    ParameterError
        If the cube has no targets, or a control cannot take its value.

    Examples
    --------
    >>> import numpy as np, maestro_lab as ml
    >>> from maestro_lab.workflow import Features
    >>> cube = ml.open_cube("landscape", samples=40, modalities=["s2"])
    >>> table = np.random.default_rng(0).normal(size=(40, 4, 3))
    >>> found = Features({"pretrained encoder": [table]}, np.arange(40), 2)
    >>> laboratory = ProbeExplorer(found, cube, target="biomass", probe="knn", draws=20)
    >>> bool(laboratory.result().score("pretrained encoder", "knn")[0] < 0.5)
    True
    """

    title = "Probe laboratory"

    def __init__(
        self, found: Features, cube: xr.DataTree, *, draws: int = 500, **state: Any
    ) -> None:
        found.check(check_cube(cube))
        targets = list(cube[TARGETS].data_vars) if TARGETS in cube.children else []
        if not targets:
            raise ParameterError(
                "nothing to probe: the cube has no targets", expected="a cube with targets",
                do="look at the embeddings themselves: EmbeddingExplorer",
            )  # fmt: skip
        self.found, self.cube, self.draws = found, cube, draws
        self._results: dict[tuple[str, str, bool], tuple[ProbeResult, Target]] = {}
        self._curves: dict[tuple[str, str, bool], FewShot] = {}
        names = list(found.tables)
        super().__init__(
            {
                "view": Choice(options=VIEWS, look="buttons"),
                "target": Choice(options=targets),
                "probe": Choice(),
                "features": Choice(_last_of(names), options=names),
                "average": Switch(False, "average places", hidden="place" not in cube.data_vars),
            }
        )
        self.adapt("target")
        self.set(**state)

    def adapt(self, name: str) -> None:
        """Offer the probes that there are for the target."""
        if name == "target":
            task = target_task(self.cube, self.controls["target"].value)
            methods = methods_for(task)
            names = [probe_name(method).removesuffix(" probe") for method in methods]
            self.controls["probe"].offer(list(zip(names, methods, strict=True)))

    def _choose(self, name: str, value: Any) -> None:
        if name == "average" and value is True and self.controls[name].hidden:
            raise ParameterError(
                "places to average", expected="a cube with several samples of a place",
                found="no variable 'place'",
            )  # fmt: skip
        super()._choose(name, value)

    def result(self, **state: Any) -> ProbeResult:
        """Return the probe of all features, for the present values of the controls or others."""
        return self._probed({**self.state, **state})[0]

    def _probed(self, at: dict[str, Any]) -> tuple[ProbeResult, Target]:
        from maestro_lab.workflow import PRETRAINED, probe_target

        key = (at["target"], at["probe"], at["average"])
        if key not in self._results:
            if PRETRAINED not in self.found.tables:
                raise ParameterError(
                    "features to probe", expected=PRETRAINED, found=", ".join(self.found.tables)
                )
            self._results[key] = probe_target(
                self.found, self.cube, at["target"], methods=[at["probe"]],
                average_places=at["average"], draws=self.draws,
            )  # fmt: skip
        return self._results[key]

    def few_shot(self, **state: Any) -> FewShot:
        """Return scores by number of labels."""
        from maestro_lab.workflow import few_shot

        at = {**self.state, **state}
        key = (at["target"], at["probe"], at["average"])
        if key not in self._curves:
            self._curves[key] = few_shot(
                self.found, self.cube, at["target"], methods=[at["probe"]],
                average_places=at["average"], draws=self.draws,
            )  # fmt: skip
        return self._curves[key]

    def draw(self, **state: Any) -> Figure:
        """Draw the chosen view."""
        from maestro_lab import figures
        from maestro_lab.cubes.splits import leakage_distances
        from maestro_lab.training.class_scores import class_scores

        view, name, method = state["view"], state["features"], state["probe"]
        if view == "leakage":
            found = leakage_distances(self.cube)
            if found is None:
                raise ParameterError("distances", expected="a cube with positions of its windows")
            return figures.leakage_histogram(found)
        if view == "few":
            return figures.few_shot_curves(self.few_shot(**state))
        result, target = self._probed(state)
        told = target.name.replace("_", " ")
        if view == "scores":
            return figures.probe_scores(result, title=f"{told} from frozen features")
        if view == "predictions":
            return figures.predicted_and_true(
                result, name, method, units=target.units, classes=target.classes
            )
        if view == "parts":
            table = class_scores(result, name, method, target.classes, draws=self.draws)
            title = f"{told}: {name}, {probe_name(method)}"
            return figures.class_score_bars(table, title=title, units=target.units)
        return self._map(state)

    def _map(self, state: dict[str, Any]) -> Figure:
        from maestro_lab import figures

        result, target = self._probed({**state, "average": False})
        label = f"{target.name} ({target.units})" if target.units else target.name
        found = figures.error_map(
            result, self.cube, self.found.samples, self.found.grid, features=state["features"],
            method=state["probe"], label=label, classes=target.classes,
        )  # fmt: skip
        if found is None:
            raise ParameterError("a map of errors", expected="a cube with positions of its windows")
        return found

    def words(self, **state: Any) -> str:
        """Tell the differences that count, or how far apart training and test lie."""
        from maestro_lab.workflow import leakage_report

        if state["view"] == "leakage":
            told = leakage_report(self.cube)
            return told if isinstance(told, str) else told.to_html(index=False)
        if state["view"] == "few":
            return ""
        result = self._probed(state)[0]
        lines = [
            f"{escape(row.better)} - {escape(row.worse)}: <b>{row.difference:+.2f}</b> "
            f"[{row.low:+.2f}, {row.high:+.2f}]"
            for row in result.differences.itertuples()
        ]
        blocks = result.scores["blocks"].iloc[0]
        head = f"Differences on the same {blocks} held-out blocks, 95 % intervals: "
        return f"<div class='maestro-words'>{head}{'; '.join(lines)}</div>" if lines else ""


def _last_of(names: list[str]) -> str:
    """Return what is looked at first: the pretrained encoder, if it is there."""
    return "pretrained encoder" if "pretrained encoder" in names else names[-1]
