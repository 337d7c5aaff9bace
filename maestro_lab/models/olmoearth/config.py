"""What an OlmoEarth model is made of: modalities, sizes, and what sets the versions apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from maestro_lab.errors import ParameterError

__all__ = ["BASE_PATCH", "MODALITIES", "SIZES", "VERSIONS", "Modality", "OlmoEarthConfig", "Size"]

BASE_PATCH = 8
"""Pixels along the side of a patch as the weights know it; others are resized to it."""

Groups = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Modality:
    """A sensor or a map, as the model takes it.

    Parameters
    ----------
    groups
        Names of bands; the bands of one group share a token. Their order is that of the input.
    dated
        Whether it has the dates of the sample; otherwise it has one image, or one row.
    spatial
        Whether it has pixels, at the resolution of the sample.
    span
        Values that become 0 and 1, of a modality whose levels were not published.
    """

    groups: Groups
    dated: bool = False
    spatial: bool = True
    span: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", tuple(tuple(g) for g in self.groups))
        if not self.groups or not all(self.groups) or len(set(self.bands)) < len(self.bands):
            raise ParameterError("band groups", expected="bands, once each", found=self.groups)
        if self.span is not None:
            low, high = map(float, self.span)
            if not -math.inf < low < high < math.inf:
                raise ParameterError("span", expected="two numbers, the lower first",
                                     found=self.span)  # fmt: skip
            object.__setattr__(self, "span", (low, high))

    @property
    def bands(self) -> tuple[str, ...]:
        """All bands, in the order of the input."""
        return tuple(band for group in self.groups for band in group)

    @property
    def merged(self) -> Modality:
        """The same with all bands in one token."""
        return replace(self, groups=(self.bands,))


@dataclass(frozen=True)
class Size:
    """Width, depths and heads; the predictor is as wide as the encoder."""

    width: int
    depth: int
    heads: int
    predictor_depth: int = 4
    hidden_ratio: float = 4.0

    def __post_init__(self) -> None:
        if self.width % (4 * self.heads):  # heads rotate pairs, along two directions of space
            raise ParameterError(
                "size: width", expected="a multiple of four for each head", found=self.width
            )

    @property
    def hidden(self) -> int:
        """Channels inside the perceptrons."""
        return int(self.width * self.hidden_ratio)


SIZES = {
    "nano": Size(128, 4, 8),
    "tiny": Size(192, 12, 3),
    "small": Size(384, 12, 6),
    "base": Size(768, 12, 12),
    "large": Size(1024, 24, 16),
}

_CEREALS = (
    "annual-temporarycrops", "maize-main-irrigation", "maize-main-maize",
    "maize-second-irrigation", "maize-second-maize", "springcereals-springcereals",
    "wintercereals-irrigation", "wintercereals-wintercereals",
)  # fmt: skip
_STREET_MAP = (
    "aerialway_pylon", "aerodrome", "airstrip", "amenity_fuel", "building", "chimney",
    "communications_tower", "crane", "flagpole", "fountain", "generator_wind", "helipad", "highway",
    "leisure", "lighthouse", "obelisk", "observatory", "parking", "petroleum_well", "power_plant",
    "power_substation", "power_tower", "river", "runway", "satellite_dish", "silo", "storage_tank",
    "taxiway", "water_tower", "works",
)  # fmt: skip

MODALITIES = {
    "sentinel2_l2a": Modality(
        (
            ("B02", "B03", "B04", "B08"),
            ("B05", "B06", "B07", "B8A", "B11", "B12"),
            ("B01", "B09"),
        ),
        dated=True,
    ),
    "sentinel1": Modality((("vv", "vh"),), dated=True),
    "landsat": Modality(
        (("B8",), ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B9", "B10", "B11")), dated=True
    ),
    "worldcover": Modality((("B1",),)),
    "srtm": Modality((("srtm",),)),
    "openstreetmap_raster": Modality((_STREET_MAP,)),
    "wri_canopy_height_map": Modality((("B1",),)),
    "cdl": Modality((("cdl",),)),
    "worldcereal": Modality((tuple(f"tc-{name}-classification" for name in _CEREALS),)),
    "era5_10": Modality(
        (
            (
                "2m-temperature", "2m-dewpoint-temperature", "surface-pressure",
                "10m-u-component-of-wind", "10m-v-component-of-wind", "total-precipitation",
            ),
        ),
        dated=True,
        spatial=False,
    ),
    "latlon": Modality((("lat", "lon"),), spatial=False),
}  # fmt: skip
"""As v1 tokenises them; the order is that of sequences. Published weights know the first nine."""

TARGETS = ("frozen", "learned")

PUBLISHED = tuple(MODALITIES)[:9]
MAPS = PUBLISHED[3:]
"""Maps, which published models predict and never see."""


@dataclass(frozen=True)
class Version:
    """What sets a version apart.

    Parameters
    ----------
    split
        Whether Sentinel-2 and Landsat have one token a resolution, rather than one in all.
    pixel_width, pixel_width_nano
        Channels of the layer that looks at each pixel alone; 0 where there is none.
    rotary
        Whether positions and dates turn queries and keys, rather than being added to tokens.
    masking
        A name in :data:`~maestro_lab.models.olmoearth.masking.STRATEGIES`.
    contrastive
        Weight of the loss that compares samples.
    spare_alike
        Whether targets that are alike do not count as negatives of each other, in maps.
    band_dropout
        Largest chance that a band of a multispectral sensor is dropped in training.
    sizes
        Which sizes exist.
    """

    split: bool
    pixel_width: int
    pixel_width_nano: int
    rotary: bool
    masking: str
    contrastive: float
    spare_alike: bool
    band_dropout: float
    sizes: tuple[str, ...]


_SINCE_V1_1 = {
    "split": False, "pixel_width": 64, "pixel_width_nano": 12, "contrastive": 0.05,
    "masking": "random_time_with_decode", "spare_alike": True, "band_dropout": 0.2,
}  # fmt: skip

VERSIONS = {
    "v1": Version(
        split=True, pixel_width=0, pixel_width_nano=0, rotary=False, contrastive=0.1,
        masking="modality_cross_random", spare_alike=False, band_dropout=0.0,
        sizes=("nano", "tiny", "base", "large"),
    ),
    "v1.1": Version(**_SINCE_V1_1, rotary=False, sizes=("nano", "tiny", "base")),
    "v1.2": Version(**_SINCE_V1_1, rotary=True, sizes=("nano", "tiny", "small", "base")),
}  # fmt: skip


@dataclass(frozen=True)
class OlmoEarthConfig:
    """Everything that makes an OlmoEarth model; :meth:`of` knows the published ones.

    Parameters
    ----------
    modalities
        Name to :class:`Modality`; the order is that of sequences.
    size
        A name in :data:`SIZES`, or a :class:`Size` of one's own.
    pixel_width
        Channels of the layer that looks at each pixel alone; 0 for none.
    rotary
        Whether positions and dates turn queries and keys, rather than being added to tokens.
    predicted_only
        Modalities that are predicted and never seen.
    masking
        A name in :data:`~maestro_lab.models.olmoearth.masking.STRATEGIES`.
    contrastive
        Weight of the loss that compares samples.
    spare_alike
        Modalities in which targets that are alike are no negatives of each other.
    band_dropout
        Largest chance that a band is dropped in training, in modalities of several bands that are
        seen, other than radar.
    drop_path
        Chance that a sample skips one half of a block of the encoder in training.
    dropout_modalities
        Modalities whose bands may be dropped.
    token_loss
        A name in :data:`~maestro_lab.models.olmoearth.losses.TOKEN_LOSSES`.
    target
        What is predicted: a "frozen" random projection of the pixels or, to see what that is good
        for, what the encoder itself makes of the whole sample while it is "learned".
    sources
        Modality to the names of modalities of a cube, or of the target, that it is made from.
        Default: sensors and names tell.

    Raises
    ------
    ParameterError
        For an unknown name or an impossible value.

    Examples
    --------
    >>> config = OlmoEarthConfig.of("v1.2", "nano")
    >>> config.size.width, list(config.modalities)[:3]
    (128, ['sentinel2_l2a', 'sentinel1', 'landsat'])
    >>> OlmoEarthConfig.from_dict(config.to_dict()) == config
    True
    """

    modalities: Mapping[str, Modality]
    size: Size | str = "nano"
    pixel_width: int = 12
    rotary: bool = True
    predicted_only: tuple[str, ...] = ()
    masking: str = "random_time_with_decode"
    contrastive: float = 0.05
    spare_alike: tuple[str, ...] = ()
    band_dropout: float = 0.0
    drop_path: float = 0.1
    dropout_modalities: tuple[str, ...] = ("sentinel2_l2a", "landsat")
    token_loss: str = "modality_discrimination"
    target: str = "frozen"
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.size, str):
            _check_name("size", self.size, SIZES)
            object.__setattr__(self, "size", SIZES[self.size])
        modalities = dict(self.modalities)
        if not set(modalities) - set(self.predicted_only):
            raise ParameterError("modalities", expected="one that is seen", found=list(modalities))
        object.__setattr__(self, "modalities", modalities)
        sources = {name: tuple(names) for name, names in self.sources.items()}
        object.__setattr__(self, "sources", sources)
        _check_name("target", self.target, TARGETS)
        for name in ("predicted_only", "spare_alike", "dropout_modalities"):
            kept = tuple(m for m in getattr(self, name) if m in modalities)
            object.__setattr__(self, name, kept)
        for name in ("drop_path", "band_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ParameterError(
                    name, expected="at least 0 and below 1", found=getattr(self, name)
                )
        weight = self.contrastive
        if not isinstance(weight, int | float) or not 0 <= weight < math.inf:
            raise ParameterError("contrastive", expected="0 or more", found=repr(weight))
        if self.pixel_width < 0:
            raise ParameterError("pixel_width", expected="0 or more", found=self.pixel_width)

    @classmethod
    def of(
        cls, version: str = "v1.2", size: str = "nano", modalities: Mapping[str, Any] | None = None
    ) -> OlmoEarthConfig:
        """Return a published configuration.

        Parameters
        ----------
        version
            A name in :data:`VERSIONS`.
        size
            A name in :data:`SIZES` that the version comes in.
        modalities
            Names out of :data:`MODALITIES`. Default: the nine that published weights know.

        Raises
        ------
        ParameterError
            For a name that does not exist.
        """
        _check_name("version", version, VERSIONS)
        v = VERSIONS[version]
        _check_name(f"size of {version}", size, v.sizes)
        chosen = {}
        for name in modalities or PUBLISHED:
            _check_name("modality", name, MODALITIES)
            chosen[name] = MODALITIES[name] if v.split else MODALITIES[name].merged
        return cls(
            chosen,
            size,
            v.pixel_width_nano if size == "nano" else v.pixel_width,
            v.rotary,
            MAPS,
            v.masking,
            v.contrastive,
            MAPS if v.spare_alike else (),
            v.band_dropout,
        )

    @property
    def seen(self) -> tuple[str, ...]:
        """Modalities that the encoder may see, in order."""
        return tuple(name for name in self.modalities if name not in self.predicted_only)

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain JSON data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> OlmoEarthConfig:
        """Build a configuration from :meth:`to_dict` data."""
        plain = dict(data)
        plain["modalities"] = {n: Modality(**m) for n, m in plain["modalities"].items()}
        if not isinstance(plain["size"], str):
            plain["size"] = Size(**plain["size"])
        return cls(**plain)


def _check_name(what: str, name: object, known: Any) -> None:
    if name not in known:
        raise ParameterError(what, expected=", ".join(known), found=repr(name))
