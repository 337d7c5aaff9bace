"""Folders of GeoTIFFs with known numbers."""

import numpy as np
import rasterio
from rasterio.transform import Affine

WEST, NORTH, SIDE = 500_000.0, 5_000_000.0, 640.0
TEN, TWENTY = ("B02", "B04", "B08"), ("B05", "B11")
LEVEL = {"B02": 300, "B04": 400, "B08": 2500, "B05": 800, "B11": 1500}


def image(band, day, gsd):
    """Values that differ from band to band, day to day and pixel to pixel."""
    side = round(SIDE / gsd)
    seed = sum(ord(c) for c in band) * 100_000 + int(day)
    return (LEVEL[band] + np.random.default_rng(seed).integers(0, 300, (side, side))).astype("u2")


def write(path, images, gsd, *, west=WEST, north=NORTH, crs="EPSG:32633", nodata=0, names=(),
          **tags):  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    stack = np.stack(images) if isinstance(images, list) else images[None]
    with rasterio.open(
        path, "w", driver="GTiff", count=len(stack), height=stack.shape[1], width=stack.shape[2],
        dtype=stack.dtype, crs=crs, nodata=nodata, transform=Affine(gsd, 0, west, 0, -gsd, north),
    ) as file:  # fmt: skip
        file.write(stack)
        for number, name in enumerate(names, 1):
            file.set_band_description(number, name)
        file.update_tags(**tags)


DAYS = ("20190704", "20190724", "20200704")


def write_product(folder):
    """Sentinel-2 as ESA names it: a file each band and date, masks of 20 m."""
    for day in DAYS:
        stem = f"T33TWL_{day}T100031"
        for band in TEN:
            write(folder / f"{stem}_{band}_10m.tif", image(band, day, 10), 10)
        for band in TWENTY:
            write(folder / f"{stem}_{band}_20m.tif", image(band, day, 20), 20)
        classes = np.full((32, 32), 4, np.uint8)
        classes[1, 2] = 9
        write(folder / f"{stem}_SCL_20m.tif", classes, 20)
    return folder


OPTIONS = {"sensor": "sentinel-2", "units": "DN", "window": 160}


def pixels(cube, name, sample, source, gsd):
    """Cut from a whole image what a sample should hold."""
    side = round(cube.attrs["window"] / gsd)
    top = round((NORTH - float(cube["northing"][sample])) / gsd)
    left = round((float(cube["easting"][sample]) - WEST) / gsd)
    return source[top : top + side, left : left + side]
