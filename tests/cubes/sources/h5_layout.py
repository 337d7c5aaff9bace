"""Write small data sets in the layouts that OlmoEarth is pretrained and judged on."""

import json

import h5py
import numpy as np
import pandas as pd
import rasterio
from rasterio.transform import Affine

OLMOEARTH = {
    "sentinel2_l2a": (12, "uint16"),
    "sentinel1": (2, "float32"),
    "landsat": (11, "uint16"),
    "worldcover": (1, "uint8"),
    "srtm": (1, "int32"),
    "openstreetmap_raster": (30, "uint8"),
    "wri_canopy_height_map": (1, "uint8"),
    "cdl": (1, "uint8"),
    "worldcereal": (8, "float32"),
}
SENSORS = ("sentinel2_l2a", "sentinel1", "landsat")
WORLDCOVER = [10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100]
S2_BANDS = ["B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12", "B01", "B09"]
SLOTS = 12

LEVELS = {
    "B01": 1350, "B02": 1120, "B03": 1040, "B04": 950, "B05": 1200, "B06": 2000, "B07": 2370,
    "B08": 2300, "B09": 730, "B10": 12, "B11": 1820, "B12": 1120, "B8A": 2600,
}  # fmt: skip
"""About the means of EuroSAT's bands: the cirrus band is dark, whatever is below."""
EUROSAT = list(LEVELS)

PUBLISHED = dict(
    zip(
        (
            "01 - Coastal aerosol", "02 - Blue", "03 - Green", "04 - Red",
            "05 - Vegetation Red Edge", "06 - Vegetation Red Edge", "07 - Vegetation Red Edge",
            "08 - NIR", "08A - Vegetation Red Edge", "09 - Water vapour", "10 - SWIR - Cirrus",
            "11 - SWIR", "12 - SWIR",
        ),
        EUROSAT,
        strict=True,
    )
)  # fmt: skip
"""m-eurosat as published: the names of its bands, which are wrong from the ninth on, to bands."""


def stamps(start="2020-01-01", slots=SLOTS):
    """Return (day, month from 0, year) of 30-day slots."""
    days = np.datetime64(start) + 30 * np.arange(slots)
    months = days.astype("datetime64[M]")
    parts = (
        (days - months).astype(int) + 1,
        months.astype(int) % 12,
        months.astype(int) // 12 + 1970,
    )
    return np.stack(parts, 1)


def layer(name, side, steps, rng):
    """Make plausible numbers of one modality (y, x, step, band)."""
    bands, dtype = OLMOEARTH[name]
    shape = (side, side, steps, bands)
    if name == "sentinel2_l2a":
        light = rng.uniform(0.3, 1.5, (side, side, 1, 1)) * rng.uniform(0.8, 1.2, (steps, 1))
        return (light * [LEVELS[band] for band in S2_BANDS]).astype(dtype)
    if name == "sentinel1":
        return (np.array([-11.0, -17.0]) + rng.normal(0, 2, shape)).astype(dtype)
    if name == "worldcover":
        return rng.choice(WORLDCOVER, shape).astype(dtype)
    if name == "worldcereal":
        return rng.choice([0, 100], shape).astype(dtype)
    low, high = {
        "landsat": (7000, 15000),
        "srtm": (200, 900),
        "openstreetmap_raster": (0, 2),
        "wri_canopy_height_map": (0, 30),
        "cdl": (1, 200),
    }[name]
    return rng.integers(low, high, shape).astype(dtype)


def write_sample(path, latlon, layers, masks, days=None, compression=None):
    """Write one sample: ``layers`` modality to (y, x, step, band), ``masks`` to (slot,)."""
    options = dict(compression or {})
    with h5py.File(path, "w") as file:
        file["latlon"] = np.array(latlon, np.float32)
        file["timestamps"] = stamps() if days is None else days
        for name, values in layers.items():
            file.create_dataset(name, data=values, chunks=values.shape, **options)
        for name, mask in masks.items():
            file[f"missing_timesteps_masks/{name}"] = mask


def write_olmoearth(
    root, tiles=2, side=8, lacking=(), compression=None, seed=0, start="2020-01-01"
):
    """Write a data set of ``4 * tiles`` samples under ``root``; return the innermost folder.

    Every sensor misses some slots; ``lacking`` holds (sample, modality) that are not there.
    """
    rng, count = np.random.default_rng(seed), 4 * tiles
    kind = "h5py_data_w_missing_timesteps_zstd_3_128_x_4"
    folder = root / kind / "_".join(sorted(OLMOEARTH)) / str(count)
    folder.mkdir(parents=True)
    north, east = 45 + 2.5 * np.arange(tiles), 5 + 3.0 * np.arange(tiles)
    places = np.stack([(north + 60) % 120 - 60, (east + 180) % 360 - 180], 1).repeat(4, 0)
    flags = pd.DataFrame({"sample_index": range(count)} | dict.fromkeys(OLMOEARTH, 1))
    for sample in range(count):
        masks = {name: rng.random(SLOTS) < 0.8 for name in SENSORS}
        masks["sentinel2_l2a"][0] = True
        here = [name for name in OLMOEARTH if (sample, name) not in lacking]
        flags.loc[sample, [name for name in OLMOEARTH if name not in here]] = 0
        steps = {name: int(masks[name].sum()) if name in masks else 1 for name in here}
        write_sample(
            folder / f"sample_{sample}.h5",
            places[sample],
            {name: layer(name, side, steps[name], rng) for name in here},
            {name: mask for name, mask in masks.items() if name in here},
            stamps(start),
            compression,
        )
    flags.to_csv(folder / "sample_metadata.csv", index=False)
    np.save(folder / "latlon_distribution.npy", places.astype(np.float32))
    settings = {"compression": "zstd", "compression_opts": 3}
    (folder / "compression_settings.json").write_text(json.dumps(settings))
    return folder


def stored(folder, sample, name):
    """Read a data set of a sample."""
    with h5py.File(folder / f"sample_{sample}.h5") as file:
        return file[name][:]


def rewrite(folder, sample, **values):
    """Replace data sets of a sample; None removes one, ``mask_NAME`` is a mask."""
    with h5py.File(folder / f"sample_{sample}.h5", "a") as file:
        for name, value in values.items():
            name = name.replace("mask_", "missing_timesteps_masks/")
            if name in file:
                del file[name]
            if value is not None:
                file[name] = value


def chip(bands, side, label, rng):
    """Make an image (band, y, x) whose level tells its class."""
    level = np.array([LEVELS.get(band, 1000) for band in bands]) * (1 + label / 4)
    light = rng.uniform(0.3, 1.5, (side, side))
    noise = rng.integers(1, 30, (len(bands), side, side))
    return (level[:, None, None] * light + noise).astype("uint16")


def write_tif(path, image, crs="EPSG:32632", descriptions=None):
    """Write an image (band, y, x) as GeoTIFF."""
    count, height, width = image.shape
    with rasterio.open(
        path, "w", driver="GTiff", count=count, height=height, width=width, dtype=image.dtype,
        crs=crs, transform=Affine(10, 0, 500_000, 0, -10, 5_000_000),
    ) as file:  # fmt: skip
        file.write(image)
        if descriptions:
            file.descriptions = descriptions


def write_eurosat(root, classes=("AnnualCrop", "Forest", "River"), each=6, side=64, seed=0):
    """Write a folder a class, with images of 13 bands inside; return ``root``."""
    rng = np.random.default_rng(seed)
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for number in range(1, each + 1):
            write_tif(root / name / f"{name}_{number}.tif", chip(EUROSAT, side, label, rng))
    return root


def write_geobench(
    root, bands=PUBLISHED, classes=3, each=4, side=16, maps=False, day="", smaller=(), seed=0
):
    """Write a folder of GEO-Bench: an HDF5 file a sample, labels beside them; return ``root``.

    Parameters
    ----------
    bands
        Stored name to what is in there.
    maps
        Labels are maps in the samples instead of a list beside them.
    day
        Date at the end of the names of the bands.
    smaller
        Stored names of bands of half the pixels.
    """
    rng, names = np.random.default_rng(seed), {}
    root.mkdir(parents=True)
    for label in range(classes):
        names[str(label)] = [f"id_{label}{number}" for number in range(each)]
        for name in names[str(label)]:
            image = chip(list(bands.values()), side, label, rng).astype("int16")
            with h5py.File(root / f"{name}.hdf5", "w") as file:
                for stored, values in zip(bands, image, strict=True):
                    part = values[::2, ::2] if stored in smaller else values
                    file[f"{stored}_{day}" if day else stored] = part
                if maps:
                    file["label"] = rng.integers(0, classes, (side, side))
                file.attrs["pickle"] = "b'never to be read'"
    stats = {s: {"mean": float(LEVELS.get(b, 1000)), "std": 1.0} for s, b in bands.items()}
    (root / "band_stats.json").write_text(json.dumps(stats))
    if not maps:
        (root / "label_map.json").write_text(json.dumps(names))
    every = [name for row in zip(*names.values(), strict=True) for name in row]
    parts = {"train": every[: -2 * classes], "valid": every[-2 * classes : -classes],
             "test": every[-classes:]}  # fmt: skip
    (root / "default_partition.json").write_text(json.dumps(parts))
    return root
