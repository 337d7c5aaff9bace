"""Readers of the real samples beside the repository, written for these tests.

Each returns plain arrays, or a cube that is then saved as zarr and opened by name from a catalogue
of its own, as anyone would bring data that the package knows nothing of.
"""

from __future__ import annotations

import json

import h5py
import numpy as np
import xarray as xr
import yaml

import maestro_lab as ml
from maestro_lab.cubes.contract import assemble, make_modality

TREESAT_BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
WORLDCEREAL_BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B11", "B12")
SLOVENIA_BANDS = (
    "B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12"
)  # fmt: skip
SLOVENIA_STORED = ("2015-08-20", "2015-07-31", "2015-09-09", "2015-08-30", "2015-07-11")
FILL = 65_535


def treesat(folder):
    """Return the Sentinel-2 series (date, band, y, x) and which pixels are clear (date, y, x)."""
    (path,) = (folder / "treesatai_ts" / "sentinel-ts").glob("*.h5")
    with h5py.File(path) as file:
        values, masks = file["sen-2-data"][:], file["sen-2-masks"][:, :2]
    return values.astype(float), (masks <= 0).all(1)


def _unsigned(ds, names):
    return np.stack([ds[name].values.view(np.uint16) for name in names], 1)[None]


def worldcereal(folder):
    """Twelve months of Sentinel-2 in DN and Sentinel-1 in dB; two months of optics are missing."""
    path = folder / "worldcereal" / "worldcereal_preprocessed_inputs.nc"
    with xr.open_dataset(path, engine="h5netcdf", mask_and_scale=False) as ds:
        optics = _unsigned(ds, [f"S2-L2A-{b}" for b in WORLDCEREAL_BANDS])
        radar = _unsigned(ds, ["S1-SIGMA0-VV", "S1-SIGMA0-VH"])
        time = ds["t"].values[None]
    s2 = make_modality(
        optics, time, valid=(optics != FILL).all(2), bands=WORLDCEREAL_BANDS, units="DN", gsd=10,
        sensor_name="sentinel-2", nodata=FILL, crs=32631,
    )  # fmt: skip
    s1 = make_modality(
        20 * np.log10(radar.astype(np.float32)) - 83, time, valid=(radar != FILL).all(2),
        bands=["VV", "VH"], units="dB", gsd=10, sensor_name="sentinel-1", crs=32631,
    )  # fmt: skip
    return _cube({"s2": s2, "s1": s1}, "worldcereal")


def slovenia(folder):
    """Five dates of Sentinel-2 reflectance, put in order, with their cloud masks."""
    folder = folder / "eolearn_slovenia"
    stored = np.array(SLOVENIA_STORED, "datetime64[D]")
    days = np.array(json.loads((folder / "timestamps.json").read_text()), "datetime64[D]")
    order = np.argsort(stored)
    values = np.moveaxis(np.load(folder / "REFERENCE_SCENES.npy")[order], -1, 1)
    rows = [int(np.flatnonzero(days == day).item()) for day in stored[order]]
    cloud = np.load(folder / "CLM.npy")[rows, ..., 0]
    s2 = make_modality(
        values[None], stored[order][None], valid=cloud[None] == 0, bands=SLOVENIA_BANDS,
        units="reflectance", gsd=10, sensor_name="sentinel-2", crs=32633,
    )  # fmt: skip
    return _cube({"s2": s2}, "slovenia")


def _cube(modalities, name):
    return assemble(
        modalities, sample=[name], split=["train"], block=[0], title=name, licence="MIT",
        source="shared",
    )  # fmt: skip


def opened_by_name(cube, name, folder):
    """Save a cube as zarr, describe it in a catalogue of its own, and open it from there."""
    path = ml.save_cube(cube, folder / f"{name}.zarr")
    modalities = {}
    for child in cube.children:
        ds = cube[child]
        fields = {k: ds.attrs[k] for k in ("sensor", "units", "gsd", "nodata") if k in ds.attrs}
        modalities[child] = {**fields, "bands": [str(b) for b in ds["band"].values]}
    entry = {
        "title": name, "kind": "zarr", "where": "a folder of this test",
        "options": {"path": str(path)}, "modalities": modalities, "position_cells": 8,
        "splits": ["train"], "licence": "MIT", "citation": "shared",
    }  # fmt: skip
    catalogue = folder / f"{name}.yaml"
    catalogue.write_text(yaml.safe_dump({"version": 1, "cubes": {name: entry}}), encoding="utf-8")
    return ml.open_cube(name, catalogue=catalogue)
