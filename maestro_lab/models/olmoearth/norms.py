"""Normalisation of OlmoEarth's inputs: two deviations around the mean become 0 to 1.

The numbers are those of the package ``olmoearth-pretrain-minimal`` (Apache-2.0), of which they are
the only part used here. Values outside are not clipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from maestro_lab.errors import ContractError
from maestro_lab.models.olmoearth.config import OlmoEarthConfig

__all__ = ["LEVELS", "RANGES", "input_contract", "normalise_bands"]

LEVELS: dict[str, dict[str, tuple[float, float]]] = {
    "sentinel2_l2a": {
        "B01": (1115.8494388252218, 1955.6991794280914),
        "B02": (1188.9412572078477, 1859.1923971769581),
        "B03": (1407.7739105458452, 1727.7387413631088),
        "B04": (1513.0573882432757, 1740.7757298757895),
        "B05": (1890.9893042634167, 1754.7320388511766),
        "B06": (2483.7812315422448, 1622.1172720635755),
        "B07": (2722.728248756412, 1621.8226170190276),
        "B08": (2755.481305028308, 1612.2565699990187),
        "B8A": (2885.570263047681, 1611.3587521042082),
        "B09": (3269.812554170875, 2651.088425085525),
        "B11": (2562.852607796968, 1441.5471830655151),
        "B12": (1914.1383249044113, 1328.8914382756407),
    },
    "sentinel1": {
        "vv": (-11.648990747328444, 10.840350299936597),
        "vh": (-17.745436133270044, 10.216274681392647),
    },
    "landsat": {
        "B1": (11000.959519415692, 7857.9205791510285),
        "B2": (10493.416292898208, 7872.392135393957),
        "B3": (10146.318478942761, 7676.2774595217115),
        "B4": (10236.446029167704, 8038.218121686258),
        "B5": (14427.021492873682, 9302.431605916356),
        "B6": (12164.08145353199, 7442.390533225441),
        "B7": (9712.032951062303, 6037.712185433222),
        "B8": (10132.090998288624, 7788.7282476413675),
        "B9": (4585.469566989013, 2549.745355740949),
        "B10": (21347.89356940543, 10957.2815012006),
        "B11": (19686.23205859348, 9911.421224126807),
    },
    "worldcover": {
        "B1": (34.04615796218091, 24.232421963981864),
    },
    "srtm": {
        "srtm": (677.0219719644446, 993.1721306513513),
    },
    "wri_canopy_height_map": {
        "B1": (10, 5),
    },
    "cdl": {
        "cdl": (100, 50),
    },
}
"""Modality to band to mean and standard deviation, in DN, dB, metres and codes."""

RANGES = {"openstreetmap_raster": (0.0, 1.0), "worldcereal": (0.0, 100.0)}
"""Modality to what becomes 0 and 1, for all its bands."""


def normalise_bands(
    values: np.ndarray,
    modality: str,
    bands: Sequence[str],
    span: tuple[float, float] | None = None,
) -> np.ndarray:
    """Bring values (..., band, y, x) to the range the model knows; NaN stays NaN.

    Parameters
    ----------
    values
        In DN, dB, metres or codes.
    modality, bands
        Names as OlmoEarth has them.
    span
        Values that become 0 and 1, in place of published levels.

    Raises
    ------
    ContractError
        If no such numbers are known.

    Examples
    --------
    >>> vv = np.full((1, 1, 1), -11.648990747328444)
    >>> normalise_bands(vv, "sentinel1", ["vv"]).ravel().tolist()
    [0.5]
    """
    span = span or RANGES.get(modality)
    if span is not None:
        low, high = (np.full(len(bands), edge) for edge in span)
    else:
        known = LEVELS.get(modality, {})
        strange = [band for band in bands if band not in known]
        if strange:
            raise ContractError(
                f"{modality}: no level is known of band {strange[0]}",
                expected=" ".join(known) or f"a modality among {', '.join([*LEVELS, *RANGES])}",
                found=" ".join(bands),
            )
        mean, std = (np.array([known[band][k] for band in bands]) for k in (0, 1))
        low, high = mean - 2 * std, mean + 2 * std
    low, high = low[:, None, None], high[:, None, None]
    return ((values - low) / (high - low)).astype(np.float32)


def input_contract(config: OlmoEarthConfig) -> dict[str, Any]:
    """Tell what a model takes: bands in order, which of them share a token, and normalisation.

    Values are brought to 0 to 1 from the range, or from two deviations below to above the mean.

    Examples
    --------
    >>> input_contract(OlmoEarthConfig.of("v1", "nano"))["sentinel1"]["groups"]
    [['vv', 'vh']]
    """
    contract = {}
    for name, m in config.modalities.items():
        contract[name] = {
            "groups": [list(group) for group in m.groups],
            "dated": m.dated,
            "spatial": m.spatial,
            "predicted_only": name in config.predicted_only,
        }
        if m.span or name in RANGES:
            contract[name]["range"] = list(m.span or RANGES[name])
        elif name in LEVELS:
            contract[name]["mean_and_deviation"] = [list(LEVELS[name][b]) for b in m.bands]
    return contract
