"""The synthetic landscape: lazy, the same in any company, and its planted truth can be found."""

import time

import dask
import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from sklearn.linear_model import RidgeClassifierCV
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from maestro_lab.bands import group_bands
from maestro_lab.cubes.contract import modality_names, validate
from maestro_lab.cubes.landscape import open_landscape
from maestro_lab.cubes.landscape.ground import CLASSES, look, pixel_grid
from maestro_lab.cubes.landscape.optics import COARSE, S2_BANDS
from maestro_lab.cubes.landscape.radar import LOOKS, backscatter, sentinel1
from maestro_lab.cubes.landscape.sites import day_of_year, sites
from maestro_lab.cubes.landscape.world import SPECIES, World
from maestro_lab.errors import CubeError

S2_TRUTH = (0, 0, 0, 0, 1, 1, 1, 1, 2, 2)
AERIAL_TRUTH = (0, 1, 1, 1)
WORLD = World(5, 2021, 60.0, 0.05, 0.45, True, 1.0)


@pytest.fixture(autouse=True)
def _one_thread():
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture(scope="module")
def cube():
    return open_landscape(samples=60, seed=0)


def test_keeps_the_contract():
    cube = validate(open_landscape(samples=12, seed=3), values=None)
    assert modality_names(cube) == ["s2", "s1_asc", "s1_des", "aerial", "dem"]
    assert dict(cube["aerial"].sizes) == {"sample": 12, "time": 1, "band": 4, "y": 300, "x": 300}
    assert cube["s2"]["values"].dtype == np.uint16
    assert cube["s1_asc"]["values"].dtype == np.float32
    assert {"split", "block", "ref_date", "easting", "northing"} <= set(cube.data_vars)
    assert set(cube["split"].values.tolist()) == {"train", "val", "test"}


def test_a_large_window_and_another_year():
    cube = open_landscape(samples=2, window=120, year=2024, modalities=["s2", "dem"], noise=0)
    validate(cube, values=None)
    assert cube["s2"].sizes["y"] == 12
    years = cube["s2"]["time"].dt.year.values
    assert set(years[np.isfinite(years)]) == {2024}


@pytest.mark.parametrize(
    "other",
    [
        {"samples": 40, "chunk": 8},
        {"samples": 12, "chunk": 5},
        {"samples": 12, "modalities": ["aerial", "s1_des", "s2"]},
    ],
)
def test_a_sample_is_the_same_in_any_company(other):
    reference = open_landscape(samples=12, seed=2, chunk=12)
    again = open_landscape(seed=2, **other)
    for name in modality_names(again):
        for variable in ("values", "valid", "time"):
            # the second cube is asked for in another order
            left = reference[name][variable].isel(sample=[3, 11]).values
            right = again[name][variable].isel(sample=[11, 3]).values[::-1]
            np.testing.assert_array_equal(left, right, err_msg=f"{name} {variable}")
    for name, target in again["targets"].data_vars.items():
        left = reference["targets"][name].isel(sample=[3, 11]).values
        np.testing.assert_array_equal(left, target.isel(sample=[3, 11]).values)


def test_another_seed_is_another_world(cube):
    other = open_landscape(samples=3, seed=9)
    for name in modality_names(other):
        left = cube[name]["values"].isel(sample=slice(3)).values
        assert not np.array_equal(left, other[name]["values"].values)


def test_opening_computes_nothing(monkeypatch):
    def refuse(*_):
        raise AssertionError("a window was made")

    monkeypatch.setattr("maestro_lab.cubes.landscape.lazy.look", refuse)
    monkeypatch.setattr("maestro_lab.cubes.landscape.lazy.aerial", refuse)
    start = time.process_time()
    cube = open_landscape(samples=100_000)
    assert time.process_time() - start < 6, "2 s on an idle machine"
    eager = 0
    for name in modality_names(cube):
        assert dask.is_dask_collection(cube[name]["values"].data)
        assert dask.is_dask_collection(cube[name]["valid"].data)
        eager += cube[name]["time"].nbytes
    assert eager < 200e6
    assert cube.sizes["sample"] == 100_000


def test_neighbouring_windows_agree():
    left, right = (pixel_grid(WORLD, west, 5_000_000.0) for west in (2000.0, 2040.0))
    one, other = (look(WORLD, g.west, g.north) for g in (left, right))
    np.testing.assert_array_equal(one.land_cover[:, 4:], other.land_cover[:, :2])
    np.testing.assert_allclose(one.elevation[:, 4:], other.elevation[:, :2], atol=1e-3)


def test_splits_are_parcels_apart():
    place = sites(WORLD, np.arange(480))
    split = place.split
    for a, b in (("train", "val"), ("train", "test"), ("val", "test")):
        east = np.abs(place.west[split == a][:, None] - place.west[split == b])
        north = np.abs(place.north[split == a][:, None] - place.north[split == b])
        assert np.maximum(east, north).min() - WORLD.window > 1000
    assert len({*zip(place.west.tolist(), place.north.tolist(), strict=True)}) == 480
    assert len(set(place.names)) == 480
    assert (split == "train").mean() == pytest.approx(0.6)


def test_coarse_bands_have_20_m_content(cube):
    values = cube["s2"]["values"].isel(sample=slice(8)).values[:, :, COARSE]
    np.testing.assert_array_equal(values[..., ::2, ::2], values[..., 1::2, 1::2])
    fine = cube["s2"]["values"].isel(sample=slice(8)).values[:, :, S2_BANDS.index("B08")]
    assert (fine[..., ::2, ::2] != fine[..., 1::2, 1::2]).mean() > 0.5


def test_masks_mark_the_bright_pixels(cube):
    s2 = cube["s2"]
    dated = ~np.isnat(s2["time"].values)
    blue = s2["values"].sel(band="B02").values[dated].astype(float) / 10_000
    valid = s2["valid"].values[dated]
    assert 0.3 < valid.mean() < 0.6
    assert (~valid[blue > 0.3]).mean() > 0.99
    assert np.median(blue[valid]) < 0.08
    assert np.quantile(blue[valid], 0.99) < 0.2
    share = valid.mean(axis=(1, 2))
    assert 0.005 < ((share > 0) & (share < 1)).mean() < 0.1, "most windows are clear or cloudy"


def test_dates_are_irregular(cube):
    dates = cube["s2"]["time"].values
    count = (~np.isnat(dates)).sum(axis=1)
    assert count.min() >= 30 and count.max() <= 73 and len(set(count.tolist())) > 10
    longest = [np.nanmax(np.diff(day_of_year(d))) for d in cube["s1_asc"]["time"].values]
    assert max(longest) >= 18, "some orbits have gaps"


@pytest.mark.parametrize(("noise", "looks"), [(1.0, LOOKS), (0.5, 4 * LOOKS)])
def test_speckle_has_the_planted_looks(noise, looks):
    world = World(5, 2021, 60.0, 0.0, 0.45, True, noise)
    place, day = sites(world, np.arange(6)), np.arange(3.0, 360.0, 6.0)
    ratio = []
    for n in range(6):
        corner = float(place.west[n]), float(place.north[n])
        ground, grid = look(world, *corner), pixel_grid(world, *corner)
        site = int(place.row[n]), int(place.column[n])
        made = sentinel1(world, ground, grid, site, day, "asc")
        ratio.append(made / backscatter(world, ground, grid, day, "asc"))
    ratio = np.concatenate(ratio)
    assert ratio.mean() == pytest.approx(1, abs=0.01)
    assert 1 / ratio.var() == pytest.approx(looks, rel=0.05)


def test_missing_modalities_are_told_by_time_and_valid():
    cube = open_landscape(samples=200, missing=0.25, seed=4)
    for name in ("aerial", "s1_des"):
        gone = np.isnat(cube[name]["time"].values).all(axis=1)
        assert 0.15 < gone.mean() < 0.35
        first = int(np.flatnonzero(gone)[0])
        assert not cube[name]["valid"].isel(sample=first).values.any()
    assert not np.isnat(cube["s2"]["time"].values[:, 0]).any()
    assert not np.isnat(cube["ref_date"].values).any()
    alone = open_landscape(samples=20, missing=1.0, modalities=["aerial"])
    assert not np.isnat(alone["aerial"]["time"].values).any(), "no sample may be empty"


def test_targets_fit_each_other(cube):
    targets = cube["targets"]
    species, cover = targets["species"].values, targets["land_cover"].values
    assert targets["species"].dims == ("sample", "class")
    assert list(targets["class"].values) == list(SPECIES)
    assert (species >= 0).all() and (species.sum(axis=1) <= 1 + 1e-6).all()
    forest = np.isin(cover, [CLASSES.index(c) for c in CLASSES if "forest" in c])
    assert np.corrcoef(forest.mean(axis=(1, 2)), species.sum(axis=1))[0, 1] > 0.95
    biomass = targets["biomass"].values
    assert (biomass[species.sum(axis=1) == 0] == 0).all()
    assert 80 < biomass[species.sum(axis=1) > 0.7].mean() < 300
    assert set(np.unique(cover)) == set(range(len(CLASSES)))


def recovered(pixels, truth):
    """Tell for each linkage whether clusters by 1 - |correlation| are exactly the truth."""
    distance = 1 - np.abs(np.corrcoef(pixels.T))
    np.fill_diagonal(distance, 0)
    condensed = squareform((distance + distance.T) / 2)
    count = len(set(truth))
    found = {}
    for method in ("average", "complete", "single"):
        labels = fcluster(linkage(condensed, method), count, "maxclust").tolist()
        found[method] = len(set(zip(labels, truth, strict=True))) == len(set(labels)) == count
    return found


def clear_pixels(ds, step=1):
    values = np.moveaxis(ds["values"].values, 2, -1)[:, :, ::step, ::step]
    return values[ds["valid"].values[:, :, ::step, ::step]].astype(float)


@pytest.mark.parametrize("seed", [0, 1])
def test_planted_groups_are_found(seed):
    cube = open_landscape(samples=60, seed=seed, modalities=["s2", "aerial"])
    assert all(recovered(clear_pixels(cube["s2"]), S2_TRUTH).values())
    assert all(recovered(clear_pixels(cube["aerial"], 3), AERIAL_TRUTH).values())


def test_the_package_itself_finds_the_planted_groups(cube):
    found = group_bands(cube, modalities=["s2", "aerial"])
    groups = {name: [list(bands) for bands in f.groups.values()] for name, f in found.items()}
    assert groups["s2"] == [
        ["B02", "B03", "B04", "B05"],
        ["B06", "B07", "B08", "B8A"],
        ["B11", "B12"],
    ]
    assert groups["aerial"] == [["NIR"], ["R", "G", "B"]]


def test_without_planted_groups_there_are_none():
    cube = open_landscape(samples=60, seed=0, modalities=["s2"], planted_groups=False)
    pixels = clear_pixels(cube["s2"])
    assert not any(recovered(pixels, S2_TRUTH).values())
    between = np.corrcoef(pixels.T)[~np.eye(10, dtype=bool)]
    assert between.std() < 0.1, "any two bands are correlated alike"


def test_all_dates_tell_species_better_than_the_best_single_date():
    cube = open_landscape(samples=400, seed=1, modalities=["s2"], chunk=16)
    shares = cube["targets"]["species"].values
    chosen = np.flatnonzero(shares.max(axis=1) > 0.5)
    species, block = shares[chosen].argmax(axis=1), cube["block"].values[chosen]
    s2 = cube["s2"].to_dataset().isel(sample=chosen)
    valid = s2["valid"].values[:, :, None]
    count = valid.sum(axis=(3, 4))
    total = (s2["values"].values * valid).sum(axis=(3, 4), dtype=float)
    clear = count[:, :, 0] >= 18
    spectra = np.log(np.maximum(total / np.maximum(count, 1), 1))  # (sample, time, band)
    day = day_of_year(s2["time"].values)

    def near(target):
        gap = np.where(clear, np.abs(day - target), np.inf)
        return spectra[np.arange(len(day)), gap.argmin(axis=1)]

    def course():
        grid = np.arange(20, 356, 12)
        series = zip(spectra, day, clear, strict=True)
        return np.stack([np.interp(grid, d[c], b) for s, d, c in series for b in s[c].T]).reshape(
            len(day), -1
        )

    def score(features):
        model = make_pipeline(StandardScaler(), RidgeClassifierCV(np.logspace(1, 5, 5)))
        guess = cross_val_predict(model, features, species, groups=block, cv=GroupKFold(5))
        return balanced_accuracy_score(species, guess)

    single = max(score(near(d)) for d in range(20, 356, 21))
    every = score(course())
    assert every > 0.6
    assert every > single + 0.2, (every, single)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 0}, r"samples\n.*1 or more\n.*0"),
        ({"samples": 2.5}, "samples"),
        ({"seed": -1}, "seed"),
        ({"year": 21}, "year"),
        ({"window": 50}, r"window\n.*multiple of 20\n.*50"),
        ({"window": "wide"}, "window"),
        ({"modalities": ["s3"]}, r"modalities\n.*s2, s1_asc.*\n.*s3"),
        ({"modalities": []}, "modalities"),
        ({"missing": 1.5}, "missing"),
        ({"cloudiness": 1.0}, "cloudiness"),
        ({"noise": -1}, "noise"),
        ({"chunk": 0}, "chunk"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(CubeError, match=message):
        open_landscape(**options)


def test_realism_draws_both_sides(cube):
    from maestro_lab.figures.realism import synthetic_and_real

    real = open_landscape(samples=3, seed=1, modalities=["s2", "s1_asc"])
    figure = synthetic_and_real(cube.isel(sample=slice(12)), {"another": real}, samples=12)
    assert [ax.get_title() for ax in figure.axes[:4]] == ["winter", "spring", "summer", "autumn"]
    with pytest.raises(CubeError, match="sentinel-2"):
        synthetic_and_real(open_landscape(samples=2, modalities=["dem"]), {})
