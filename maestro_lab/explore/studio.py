"""The reconstruction studio: hide something, and see what the model makes of the rest."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from maestro_lab.batches.dataset import check_samples
from maestro_lab.errors import ParameterError
from maestro_lab.explore.base import Explorer
from maestro_lab.explore.controls import Choice, Number, Spot, nearest_day
from maestro_lab.figures.looks import looks
from maestro_lab.training.reconstruct import GUESSES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from maestro_lab.batches import CubeDataset
    from maestro_lab.models.hiding import Hide
    from maestro_lab.models.maestro import Maestro
    from maestro_lab.training.error_table import ErrorTable
    from maestro_lab.training.reconstruct import Reconstruction

__all__ = ["ReconstructionStudio"]

_HIDE = (
    ("as trained", "as trained"),
    ("at random", "at random"),
    ("this date", "date"),
    ("this modality", "modality"),
    ("this place", "location"),
    ("these bands", "bands"),
)
_WAYS = (
    ("the answer's mean and scale", "true"),
    ("mean and scale of visible patches", "visible"),
    ("none: normalised", "normalised"),
)

_ALONE = "this model encodes that on its own, so that nothing would be left to guess it from"


class ReconstructionStudio(Explorer):
    """Reconstructions made anew whenever a control moves.

    Predictions have neither brightness nor contrast: the loss compares patterns, normalised patch
    by patch. How they become pixels again is the control ``way``, and the figure says which was
    taken. A click on a small date goes there; a click on a large image chooses the place to hide.

    Parameters
    ----------
    model
        A pretrained MAESTRO.
    data
        Samples, with ``train=False``.
    **state
        What is shown first: ``view`` ("images" or "errors"), ``sample`` (number in the data set),
        ``modality``, ``date`` (its number, or a day near it), ``bands`` (a look, or "group N"),
        ``hide`` (as trained, at random, date, modality, location, bands), ``mask_ratio``, ``way``
        (true, visible, normalised), ``seed`` of the masks, and ``place`` (row and column of a
        patch).

    Raises
    ------
    ParameterError
        If a control cannot take its value, or the data set has no sample.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> cube = ml.open_cube("landscape", samples=4, modalities=["s2"])
    >>> contract = ml.contract_for(cube, dates={"s2": 4})
    >>> model = ml.build_model(ml.MaestroConfig(contract, "nano"))
    >>> data = ml.CubeDataset(cube, contract, split=None, train=False)
    >>> studio = ReconstructionStudio(model, data, hide="date", date=2, way="visible")
    >>> bool(studio.reconstruction().masked[0, 2].all())
    True
    """

    title = "Reconstruction studio"

    def __init__(self, model: Maestro, data: CubeDataset, **state: Any) -> None:
        if not len(check_samples(data, "samples to reconstruct")):
            raise ParameterError("samples to reconstruct", expected="at least one", found="none")
        self.model, self.data = model, data
        self._last: tuple[Any, dict[str, Reconstruction]] | None = None
        self._errors: tuple[Any, ErrorTable] | None = None
        own = model.config.masking.ratio
        super().__init__(
            {
                "view": Choice(options=("images", "errors"), look="buttons"),
                "sample": Number(0, low=0, high=len(data) - 1, look="box"),
                "modality": Choice(options=list(model.modalities)),
                "date": Choice(look="slider"),
                "bands": Choice(),
                "hide": Choice(options=_HIDE, look="buttons"),
                "mask_ratio": Number(
                    own, "hidden", low=min(own, 0.1), high=max(own, 0.9), step=0.05
                ),
                "way": Choice(options=_WAYS, label="brightness"),
                "seed": Number(0, low=0, high=10_000, look="box"),
                "place": Spot((0, 0), taken=self._place, words="(row, column) of a patch"),
            }
        )
        self.adapt("sample")
        self.adapt("modality")
        self.set(**state)

    def _place(self, value: Any) -> tuple[int, int]:
        row, column = (int(v) for v in value)
        grid = self.model.modalities[self.controls["modality"].value].grid
        if not (0 <= row < grid and 0 <= column < grid):
            raise ValueError(value)
        return row, column

    def _choose(self, name: str, value: Any) -> None:
        if name == "date":
            days = [label[:10] for label, _ in self.controls["date"].options]
            near = nearest_day(value, days)
            if near is None and isinstance(value, str):
                raise ParameterError(
                    "control 'date'", found=repr(value),
                    expected=f"0 to {len(days) - 1}, or a day from {days[0]} to {days[-1]}",
                )  # fmt: skip
            value = value if near is None else near
        super()._choose(name, value)

    def _day(self, date: int) -> str:
        """Return a date of the chosen modality in words."""
        return {n: label for label, n in self.controls["date"].options}[date][:10]

    def adapt(self, name: str) -> None:
        """Offer dates and bands of the modality."""
        if name not in ("sample", "modality"):
            return
        modality = self.controls["modality"].value
        m = self.model.modalities[modality]
        series = self.data[self.controls["sample"].value].series[modality]
        before = self.controls["date"].value
        self.controls["date"].offer(_dates(series))
        if before != "":
            self.controls["date"].value = min(before, m.dates - 1)
        if name == "modality":
            groups = [(f"group {' '.join(g)}", f"group {k}") for k, g in enumerate(m.norm_groups)]
            colours = {n: look for n, look in looks(m.bands).items() if "VV/VH" not in look.bands}
            several = groups if len(groups) > 1 else []
            self.controls["bands"].offer([*((n, n) for n in colours), *several])
            self._offer_to_hide(modality)
            place = self.controls["place"]
            place.words = f"(row, column) of a patch, 0 to {m.grid - 1}"
            place.value = tuple(min(v, m.grid - 1) for v in place.value)

    def _offer_to_hide(self, modality: str) -> None:
        """Offer what can be hidden so that something of each sequence is left to see."""
        from maestro_lab.models.hiding import Hide, can_hide

        hide = self.controls["hide"]
        hide.absent = {
            what: _ALONE for _, what in _HIDE if not can_hide(self.model, Hide(what, modality))
        }
        hide.offer([(words, what) for words, what in _HIDE if what not in hide.absent])

    def bands_of(self, modality: str, bands: str) -> tuple[str, ...]:
        """Return the bands that a choice means, by wavelength: the last is shown as red."""
        m = self.model.modalities[modality]
        if bands.startswith("group "):
            return m.norm_groups[int(bands.removeprefix("group "))]
        return looks(m.bands)[bands].bands[::-1]

    def hidden(self, **state: Any) -> Hide:
        """Return what is hidden, for the present values of the controls or others."""
        from maestro_lab.models.hiding import Hide

        at = {**self.state, **state}
        m = self.model.modalities[at["modality"]]
        meant = set(self.bands_of(at["modality"], at["bands"]))
        group = next(k for k, g in enumerate(m.token_groups) if meant & set(g))
        return Hide(at["hide"], at["modality"], at["date"], at["place"], group, at["mask_ratio"])

    def reconstructions(self, **state: Any) -> dict[str, Reconstruction]:
        """Return all modalities, reconstructed; the model runs only if something changed."""
        from maestro_lab.training.reconstruct import reconstruct

        at = {**self.state, **state}
        key = (at["sample"], at["seed"], self.hidden(**state))
        if self._last is None or self._last[0] != key:
            batch = self.data[at["sample"]]
            found = reconstruct(self.model, batch, seed=at["seed"], hide=key[2])
            self._last = (key, found)
        return self._last[1]

    def reconstruction(self, **state: Any) -> Reconstruction:
        """Return the chosen modality, reconstructed."""
        return self.reconstructions(**state)[{**self.state, **state}["modality"]]

    def errors(self, **state: Any) -> ErrorTable:
        """Return errors over up to 64 samples, hidden as chosen."""
        from maestro_lab.training.error_table import error_table

        at = {**self.state, **state}
        key = (at["seed"], self.hidden(**state))
        if self._errors is None or self._errors[0] != key:
            found = error_table(self.model, self.data, hide=key[1], seed=at["seed"])
            self._errors = (key, found)
        return self._errors[1]

    def draw(self, **state: Any) -> Figure:
        """Hide patches of one sample and draw what the model makes of the rest; or its errors."""
        from maestro_lab.figures import error_views, studio_view

        told = self._told(state)
        if state["view"] == "errors":
            return error_views(self.errors(**state), hidden=told)
        name = state["modality"]
        number = int(self.data.index[state["sample"]])
        return studio_view(
            self.reconstruction(**state),
            sample=f"{state['sample']} (number {number} of the cube)",
            modality=name,
            date=state["date"],
            bands=self.bands_of(name, state["bands"]),
            way=state["way"],
            hidden=told,
            patch=self.model.modalities[name].patch,
            location=state["place"],
        )

    def _told(self, state: dict[str, Any]) -> str:
        """Say what is hidden."""
        share = f"{state['mask_ratio']:.0%}".replace("%", " %")
        words = {
            "date": self._day(state["date"]), "modality": f"all of {state['modality']}",
            "location": "location {} {}".format(*state["place"]),
            "bands": "bands " + " ".join(self.bands_of(state["modality"], state["bands"])),
        }  # fmt: skip
        what = state["hide"]
        return f"{words[what]}, {share} in all" if what in words else f"{share} {what}"

    def words(self, **state: Any) -> str:
        """Tell the error of the chosen modality beside trivial guesses, and what is missing."""
        from maestro_lab.training.reconstruct import guess_errors

        if state["view"] == "errors":
            return _found(self.errors(**state))
        r = self.reconstruction(**state)
        errors, scored = guess_errors(r)
        lacking = [words for words, what in _HIDE if what in self.controls["hide"].absent]
        told = f"<br>Not offered: {', '.join(lacking)}: {_ALONE}." if lacking else ""
        if not r.valid.any():
            return f"<b>{escape(state['modality'])}</b> is missing in this sample."
        if not scored.any():
            return "Nothing that is hidden here can be compared: no valid pixel under the mask."
        shown = [
            f"{escape(name)} <b>{error[scored].mean():.3f}</b>" for name, error in errors.items()
        ]
        return (
            f"<div class='maestro-words'>L1 of hidden pixels of this sample, all dates of "
            f"{escape(state['modality'])}, normalised: {', '.join(shown)}. "
            f"Many samples at once: view <i>errors</i>.{told}</div>"
        )

    def pointed(self, panel: str, x: float, y: float) -> dict[str, Any]:
        """Choose a date, or the patch to hide."""
        kind, _, name = panel.partition(":")
        if kind == "date":
            return {"date": int(name)}
        if kind == "patch":
            patch = self.model.modalities[self.controls["modality"].value].patch
            return {"place": (int(y // patch), int(x // patch)), "hide": "location"}
        return {}


def _dates(series: Any) -> list[tuple[str, int]]:
    """Name the dates of the only sample of a series."""
    found = []
    for k, (year, day, _) in enumerate(series.dates[0].tolist()):
        when = pd.Timestamp(year, 1, 1) + pd.Timedelta(days=day - 1)
        valid = 1.0 if series.valid is None else float(series.valid[0, k].float().mean())
        mark = "" if valid >= 0.5 else f" ☁ {valid:.0%} clear".replace("%", " %")
        found.append((f"{when:%Y-%m-%d}{mark}", k))
    return found


def _found(table: ErrorTable) -> str:
    """Say for which band the model is best and worst, beside the best trivial guess."""
    by_band = table.by("modality", "band")
    guesses = [name for name in by_band if name in GUESSES[1:]]
    trivial = by_band[guesses].min(axis=1)
    behind = by_band["model"] - trivial
    lines = []
    for word, k in (("best", behind.idxmin()), ("worst", behind.idxmax())):
        row, guess = by_band.loc[k], by_band.loc[k, guesses].astype(float).idxmin()
        lines.append(
            f"{word}: <b>{escape(str(row['modality']))} {escape(str(row['band']))}</b> "
            f"{row['model']:.2f} beside {row[guess]:.2f} ({escape(guess)})"
        )
    told = "; ".join(lines)
    return f"<div class='maestro-words'>Model beside the best trivial guess, {told}.</div>"
