"""Does the synthetic landscape look like the real thing? Spectra, courses, backscatter, texture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from pandas.api.typing import SeriesGroupBy

from maestro_lab.cubes.contract import TARGETS, modality_names
from maestro_lab.errors import CubeError
from maestro_lab.figures.drawn import painted_by, parts, several
from maestro_lab.figures.style import bare, finish, narrow, new_figure, styled

__all__ = ["synthetic_and_real"]

SEASONS = {"winter": (12, 1, 2), "spring": (3, 4, 5), "summer": (6, 7, 8), "autumn": (9, 10, 11)}

SYNTHETIC_COLOURS = ("#009E73", "#56B4E9", "#E69F00")
REAL_STYLES = (("#000000", "o"), ("#0072B2", "s"), ("#CC79A7", "^"), ("#D55E00", "D"))
"""Colours of Okabe and Ito, told apart with any kind of colour vision, and a marker for each."""

CONIFERS = ("pine", "spruce", "larch")

MAIN = 0.8
"""Share of a synthetic window that a kind of land must cover to stand for it."""

CLEAR = 0.9
"""A date counts where at least this share of a sample's pixels is valid."""


DECIBELS = np.arange(-32.0, 4.1, 0.75)
"""Edges of the bins of backscatter."""


@dataclass(frozen=True)
class _Series:
    """One curve of the figure: some samples of one cube."""

    label: str
    cube: xr.DataTree
    samples: np.ndarray
    colour: str
    marker: str = ""


def _paint_realism(data: xr.DataTree) -> Figure:
    series = parts(data)
    with styled():
        crops = any("aerial" in s for s in series)
        heights = [
            2.4,
            2.6,
            0.4 + (0.15 if narrow() else 0.07) * len(series),
            2.3 if crops else 1.0,
        ]
        figure = new_figure(sum(heights))
        rows = figure.subfigures(4, 1, height_ratios=heights)
        _draw_spectra(rows[0].subplots(1, 4, sharey=True), series)
        left, right = rows[1].subplots(1, 2, width_ratios=[1.25, 1])
        _draw_ndvi(left, series)
        _draw_backscatter(right, series)
        handles = [Line2D([], [], **_look(s), lw=_wide(s), ms=4) for s in series]
        labels = [s.attrs["label"] for s in series]
        rows[2].legend(handles, labels, loc="center", ncols=1 if narrow() else 2)
        _draw_aerial(rows[3], series)
    return finish(figure)


@painted_by(_paint_realism)
def synthetic_and_real(
    synthetic: xr.DataTree, real: Mapping[str, xr.DataTree], *, samples: int = 96
) -> xr.DataTree:
    """Draw a synthetic cube beside real ones.

    Parameters
    ----------
    synthetic
        The cube to judge. Where it has the target ``land_cover``, windows of one kind of forest
        and of open land are drawn apart.
    real
        Name to real cube; those with Sentinel-2, Sentinel-1 or aerial modalities show in the
        panels they fit.
    samples
        Samples of each cube that are read, evenly spread.

    Returns
    -------
    matplotlib.figure.Figure
        Spectra by season, NDVI courses of clear dates, distributions of VV and VH, and aerial
        crops in colour-infrared.

    Raises
    ------
    CubeError
        If the synthetic cube has no Sentinel-2 modality.

    Examples
    --------
    >>> from maestro_lab.cubes.landscape import open_landscape
    >>> figure = synthetic_and_real(open_landscape(samples=4), {})
    >>> figure.axes[0].get_title()
    'winter'
    """
    if not _modalities(synthetic, "sentinel-2"):
        raise CubeError(
            "the synthetic cube cannot be compared",
            expected="a modality with attrs sensor 'sentinel-2'",
            found=", ".join(modality_names(synthetic)),
        )
    series = _split_synthetic(synthetic, samples) + [
        _Series(name, cube, _spread(cube.sizes["sample"], samples), *style)
        for (name, cube), style in zip(real.items(), cycle(REAL_STYLES), strict=False)
    ]
    return several([_measured(s) for s in series])


def _measured(series: _Series) -> xr.Dataset:
    """Return all that is drawn of a series."""
    table = _sentinel2_table(series)
    arrays = {**_spectra(table), **_course(_ndvi(table), bool(series.marker)),
              **_backscatter(series)}  # fmt: skip
    attrs = {"label": series.label, "colour": series.colour, "marker": series.marker}
    for image, side in _crops(series, 1)[:1]:
        arrays["aerial"], attrs["side"] = (("y", "x", "rgb"), np.float32(image)), side
    return xr.Dataset(arrays, attrs=attrs)


def _spread(count: int, samples: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, samples)).round().astype(int))


def _split_synthetic(cube: xr.DataTree, samples: int) -> list[_Series]:
    """Draw each kind of forest apart from the open land, where the cube tells its land cover."""
    chosen = _spread(cube.sizes["sample"], samples)
    cover = cube[TARGETS].get("land_cover") if TARGETS in cube.children else None
    if cover is None or "classes" not in cover.attrs:
        return [_Series("synthetic", cube, chosen, SYNTHETIC_COLOURS[0])]
    names = np.array(cover.attrs["classes"])
    maps = cover.isel(sample=chosen).to_numpy().reshape(len(chosen), -1)
    share = (maps[:, :, None] == np.arange(len(names))).mean(axis=1)  # (sample, class)
    conifer = np.isin(names, [f"{species} forest" for species in CONIFERS])
    forest = np.array(["forest" in name for name in names])
    parts = [
        ("synthetic broadleaf forest", share[:, forest & ~conifer].sum(axis=1) > MAIN),
        ("synthetic conifer forest", share[:, conifer].sum(axis=1) > MAIN),
        ("synthetic open land", share[:, forest].sum(axis=1) < 1 - MAIN),
    ]
    return [
        _Series(label, cube, chosen[here], colour)
        for (label, here), colour in zip(parts, SYNTHETIC_COLOURS, strict=False)
        if here.any()
    ]


def _modalities(cube: xr.DataTree, sensor: str) -> list[str]:
    return [m for m in modality_names(cube) if cube[m].attrs.get("sensor") == sensor]


def _parts(series: _Series, sensor: str) -> Iterator[xr.Dataset]:
    for name in _modalities(series.cube, sensor):
        yield series.cube[name].to_dataset().isel(sample=series.samples).load()


def _sentinel2_table(series: _Series) -> pd.DataFrame:
    """Return the mean reflectance of each sample, clear date and band, one a row."""
    tables = []
    for ds in _parts(series, "sentinel-2"):
        scale = 1e-4 if ds.attrs["units"] == "DN" else 1.0
        valid = ds["valid"].to_numpy()[:, :, None]
        count = valid.sum(axis=(3, 4))
        total = np.where(valid, ds["values"].to_numpy(), 0).sum(axis=(3, 4), dtype=float)
        sample, date = np.nonzero(count[:, :, 0] >= CLEAR * np.prod(valid.shape[3:]))
        mean = scale * total[sample, date] / count[sample, date]
        wide = pd.DataFrame(mean, columns=[str(b) for b in ds["band"].to_numpy()])
        wide["sample"], wide["date"] = sample, ds["time"].to_numpy()[sample, date]
        long = wide.melt(["sample", "date"], var_name="band", value_name="reflectance")
        waves = dict(zip(wide.columns, ds["wavelength"].to_numpy(), strict=False))
        tables.append(long.assign(wavelength=long["band"].map(waves)))
    return pd.concat(tables) if tables else pd.DataFrame(columns=["sample", "date", "band"])


def _quantiles(groups: SeriesGroupBy) -> pd.DataFrame:
    return pd.DataFrame({q: groups.quantile(q) for q in (0.1, 0.5, 0.9)})


def _spectra(table: pd.DataFrame) -> dict[str, tuple]:
    """Return quantiles of reflectance by season and wavelength, NaN where there is none."""
    if table.empty:
        return {}
    waves = np.sort(table["wavelength"].unique())
    month = pd.DatetimeIndex(table["date"]).month
    found = [
        _quantiles(table[month.isin(months)].groupby("wavelength")["reflectance"]).reindex(waves)
        for months in SEASONS.values()
    ]
    return {
        "wavelength": ("band", waves),
        "reflectance": (("season", "band", "quantile"), np.stack(found)),
    }


def _course(ndvi: pd.DataFrame, real: bool) -> dict[str, tuple]:
    """Return quantiles of NDVI by day of the year: each date of a real cube, else ten days."""
    if ndvi.empty:
        return {}
    day = ndvi["date"].dt.day_of_year
    groups = _quantiles(ndvi.groupby(ndvi["date"] if real else day // 10 * 10 + 5)["ndvi"])
    days = groups.index.day_of_year if real else groups.index
    return {
        "day": ("date", np.asarray(days, float)),
        "ndvi": (("date", "quantile"), groups.to_numpy()),
    }


def _backscatter(series: _Series) -> dict[str, tuple]:
    """Return the density of backscatter in dB, all that there is of VV and of VH."""
    found: dict[str, list[np.ndarray]] = {"VV": [], "VH": []}
    for ds in _parts(series, "sentinel-1"):
        pixels = np.moveaxis(ds["values"].to_numpy(), 2, -1)[ds["valid"].to_numpy()]
        if ds.attrs["units"] != "dB":
            pixels = 10 * np.log10(np.maximum(pixels, 1e-6))
        for name, values in zip(ds["band"].to_numpy(), pixels.T, strict=True):
            found[str(name)].append(values)
    return {
        name: ("bin", np.histogram(np.concatenate(values), DECIBELS, density=True)[0])
        for name, values in found.items()
        if values
    }


def _look(part: xr.Dataset) -> dict[str, str]:
    return {"color": part.attrs["colour"], "marker": part.attrs["marker"]}


def _wide(part: xr.Dataset) -> float:
    """Return the width of lines: real cubes have thin ones with markers."""
    return 0.9 if part.attrs["marker"] else 2


def _band(ax: Axes, x: np.ndarray, quantiles: np.ndarray, colour: str) -> None:
    """Draw a median in the range from 10 to 90 %."""
    low, middle, high = quantiles.T
    ax.fill_between(x, low, high, color=colour, alpha=0.25, lw=0)
    ax.plot(x, middle, color=colour, lw=2)


def _draw_spectra(axes: np.ndarray, series: list[xr.Dataset]) -> None:
    for k, (ax, season) in enumerate(zip(axes, SEASONS, strict=True)):
        for s in series:
            if "reflectance" not in s:
                continue
            there = np.isfinite(s["reflectance"].values[k, :, 1])
            x, q = s["wavelength"].values[there], s["reflectance"].values[k, there]
            if there.any() and s.attrs["marker"]:
                ax.plot(x, q[:, 1], **_look(s), ms=3, lw=0.8)
            elif there.any():
                _band(ax, x, q, s.attrs["colour"])
        ax.set_title(season)
        ax.set_xticks([500, 1000, 1500, 2000], ["0.5", "1", "1.5", "2"])
        ax.set_ylim(0, 0.6)
    axes[0].set_ylabel("reflectance\n(median, 10 to 90 %)", fontsize=8)
    axes[0].figure.supxlabel("wavelength (µm)", fontsize=8)


def _draw_ndvi(ax: Axes, series: list[xr.Dataset]) -> None:
    for s in series:
        if "ndvi" not in s:
            continue
        day, quantiles = s["day"].values, s["ndvi"].values
        if s.attrs["marker"]:
            ax.plot(day, quantiles[:, 1], ls="", **_look(s), ms=3, alpha=0.8, mew=0)
        else:
            _band(ax, day, quantiles, s.attrs["colour"])
    ax.set(xlim=(0, 366), ylim=(0, 1), title="NDVI of clear dates")
    ax.set_xlabel("day of the year", fontsize=8)
    ax.set_ylabel("NDVI", fontsize=8)


def _ndvi(table: pd.DataFrame) -> pd.DataFrame:
    if not {"B04", "B08"} <= set(table["band"]):
        return pd.DataFrame()
    wide = table.pivot_table("reflectance", ["sample", "date"], "band").reset_index()
    both = wide["B08"] + wide["B04"]
    return wide.assign(ndvi=(wide["B08"] - wide["B04"]) / both)[["sample", "date", "ndvi"]].dropna()


def _draw_backscatter(ax: Axes, series: list[xr.Dataset]) -> None:
    middle = (DECIBELS[1:] + DECIBELS[:-1]) / 2
    for s in series:
        for name, style in (("VV", "-"), ("VH", (0, (3, 1.2)))):
            if name in s:
                ax.plot(middle, s[name].values, color=s.attrs["colour"], lw=_wide(s), ls=style)
    ax.set(title="Sentinel-1 pixels")
    words = "backscatter (dB);", "solid VV, dashed VH"
    ax.set_xlabel(("\n" if narrow() else " ").join(words), fontsize=8)
    ax.set_ylabel("density (1/dB)", fontsize=8)
    ax.set_ylim(bottom=0)


def _draw_aerial(figure: SubFigure, series: list[xr.Dataset]) -> None:
    """Show one crop of each cube, real ones first."""
    crops = [s for s in series if s.attrs["marker"] and "aerial" in s][:2]
    crops += [s for s in series if not s.attrs["marker"] and "aerial" in s]
    axes = np.atleast_1d(figure.subplots(1, max(len(crops), 1)))
    if not crops:
        axes[0].set_title("no aerial modality", fontsize=8)
        bare(axes[0])
    for ax, crop in zip(axes, crops, strict=False):
        side, label = crop.attrs["side"], crop.attrs["label"]
        ax.imshow(crop["aerial"].values, extent=(0, side, 0, side), interpolation="nearest")
        ax.set_title(
            label.replace("synthetic ", "synthetic\n").replace(" (", "\n("),
            fontsize=5 if narrow() else 8,
        )
        ax.set_xticks([0, round(side)], ["0", f"{side:.0f} m"])
        ax.set_yticks([])
    figure.suptitle("Aerial, colour-infrared (NIR, R, G)", fontsize=9)


def _crops(series: _Series, count: int) -> list[tuple[np.ndarray, float]]:
    out = []
    for ds in _parts(series, "aerial"):
        bands = [str(b) for b in ds["band"].to_numpy()]
        if not {"NIR", "R", "G"} <= set(bands):
            continue
        there = np.flatnonzero(ds["valid"].to_numpy()[:, 0].any(axis=(1, 2)))
        for n in there[_spread(len(there), count)] if len(there) else ():
            image = ds["values"].to_numpy()[n, 0][[bands.index(b) for b in ("NIR", "R", "G")]]
            image = np.clip(image / (255 if image.dtype == np.uint8 else image.max()), 0, 1)
            side = image.shape[1] * float(ds.attrs["gsd"])
            out.append((np.moveaxis(image, 0, -1), side))
    return out
