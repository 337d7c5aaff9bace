"""A cube's statistics, measured when asked for and remembered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from maestro_lab.bands.measure import BUNDLES, band_statistics
from maestro_lab.bands.selection import CLOUDS, policy, regions, sees_clouds
from maestro_lab.bands.statistics import BandStatistics
from maestro_lab.cubes.contract import modality_names
from maestro_lab.errors import ParameterError

__all__ = ["Survey"]


class Survey:
    """The statistics of a cube's bands, taken once for each way of looking at them.

    Parameters
    ----------
    cube
        The cube.
    modalities
        Which; default all.
    patch
        Side of a patch in pixels, for each modality; 2 for those it does not name.
    split
        Samples to look at. Default: train where there is one, else all.
    bundles
        See :func:`~maestro_lab.bands.band_statistics`.

    Raises
    ------
    ParameterError
        For a modality the cube does not have.

    Examples
    --------
    >>> import maestro_lab as ml
    >>> survey = Survey(ml.open_cube("landscape", samples=8), ["s2"])
    >>> survey.statistics("s2", clouds="in").n > survey.statistics("s2").n
    True
    """

    def __init__(
        self,
        cube: xr.DataTree,
        modalities: Sequence[str] | None = None,
        *,
        patch: Mapping[str, int] | None = None,
        split: str | Sequence[str] | None = None,
        bundles: int = BUNDLES,
    ) -> None:
        there = modality_names(cube)
        self.modalities = list(modalities or there)
        strange = [name for name in (*self.modalities, *(patch or {})) if name not in there]
        if strange:
            raise ParameterError(
                f"no modality {strange[0]!r}", expected=", ".join(there), found=strange[0]
            )
        if split is None:
            learning = (np.asarray(cube["split"].values) == "train").any()
            split = ("train",) if learning else ()
        self.cube, self.split, self.bundles = cube, split, bundles
        self.patch = {name: dict(patch or {}).get(name, 2) for name in self.modalities}
        self._found: dict[tuple[Any, ...], BandStatistics] = {}

    def policies(self, modality: str) -> tuple[str, ...]:
        """Return the cloud policies that make a difference: one for radar and elevation."""
        return CLOUDS if sees_clouds(self.cube[modality].to_dataset()) else CLOUDS[:1]

    def regions(self) -> list[str]:
        """Return the names of the regions, none where the cube cannot tell any apart."""
        try:
            return [str(name) for name in np.unique(regions(self.cube))]
        except ParameterError:
            return []

    def statistics(
        self, modality: str, *, clouds: str = "out", season: str = "", region: str = ""
    ) -> BandStatistics:
        """Return the statistics of a modality, measured now or before.

        Parameters
        ----------
        modality
            One of the survey's.
        clouds, season, region
            See :class:`~maestro_lab.bands.selection.Selection`.
        """
        if modality not in self.modalities:
            raise ParameterError(
                f"no modality {modality!r} in this survey",
                expected=", ".join(self.modalities),
                found=modality,
            )
        key = (modality, policy(self.cube[modality].to_dataset(), clouds), season, region)
        if key not in self._found:
            self._found[key] = band_statistics(
                self.cube,
                modality,
                clouds=clouds,
                split=self.split,
                season=season,
                region=region,
                patch=self.patch[modality],
                bundles=self.bundles,
            )
        return self._found[key]

    def __repr__(self) -> str:
        return f"Survey({', '.join(self.modalities)}; {len(self._found)} measured)"
