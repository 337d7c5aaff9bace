"""Windows cut from larger samples: drawn when training, regular when evaluating, on one ground."""

import numpy as np
import pytest
import torch

from maestro_lab.batches import CubeDataset, check_contract, contract_for, cut_for, loader
from maestro_lab.cubes.contract import make_modality, modality_names
from maestro_lab.cubes.packed.writing import pack_cube
from maestro_lab.cubes.store import open_store
from maestro_lab.errors import ContractError, CubeError
from tests.batches.cubes import changed, cube_of, days, only
from tests.batches.test_dataset import whole
from tests.batches.test_packed_batches import all_alike, data_sets, epoch_of, same_bits
from tests.cubes.conftest import edited
from tests.cubes.packing import from_files
from tests.cubes.test_windows import ground_cube, with_crs

CELLS, GROUND = 14, 4  # cells of a sample, and units of ground a cell
TARGETS = ("cover", "shares", "age")


@pytest.fixture(scope="module")
def cubes(tmp_path_factory):
    """A cube whose pixels tell where they lie, in four places."""
    folder, cube = tmp_path_factory.mktemp("ground"), ground_cube()
    return {
        "memory": cube,
        "dask": cube.chunk({"sample": 2, "y": 5}),
        "files": with_crs(from_files(cube, folder / "files"), cube),
        "packed": open_store(pack_cube(cube, folder / "cube.zarr", samples=2)),
    }


@pytest.fixture(scope="module")
def contract(cubes):
    return contract_for(cubes["memory"], window=80, dates={"s2": 2})


def where_of(data, batch, k, epoch, name):
    """Return which ground each pixel of a window shows, in its first date."""
    series, row = batch.series[name], int(k)
    divide = data.contract.modalities[name].divide
    shown = np.rint(series.values[row, 0, 0].double().numpy() * divide).astype(int)
    if series.valid is not None:  # elsewhere is the mean of what is valid
        shown = np.where(series.valid[row, 0].numpy(), shown, -1)
    return shown - data.dates(name, row, epoch)[0] * (shown >= 0)


def coarser(shown, factor):
    """Bring the ground of finer pixels to coarser ones: their corner, wherever it was turned."""
    side = len(shown) // factor
    return shown.reshape(side, factor, side, factor).min((1, 3))


def corner(shown):
    """Return sample, row and column, in cells, of the upper-left pixel of a window."""
    least = int(shown.min())
    row, column = divmod(least % 10_000, 100)
    assert row % GROUND == column % GROUND == 0
    return least // 10_000, row // GROUND, column // GROUND


def test_windows_of_all_modalities_and_targets_lie_on_one_ground(cubes, contract):
    data = CubeDataset(cubes["packed"], contract, split=None, seed=2, targets=TARGETS)
    assert len(data) == 3 * 9 and data.index.tolist() == np.repeat(range(3), 9).tolist()
    views = set()
    for epoch in range(4):
        batch = whole(data, epoch)
        assert batch.targets["shares"].shape == (27, 2, 8, 8)
        assert batch.targets["age"].tolist() == data.index.tolist(), "told of the whole sample"
        for k in range(len(data)):
            cover = batch.targets["cover"][k].numpy()
            sample, row, column = corner(cover)
            assert sample == data.index[k] == batch.sample[k]
            assert 0 <= row <= CELLS - 4 and 0 <= column <= CELLS - 4, "inside the sample"
            assert torch.equal(batch.targets["shares"][k, 0], batch.targets["cover"][k])
            assert torch.equal(batch.targets["shares"][k, 1], -batch.targets["cover"][k])
            s2 = where_of(data, batch, k, epoch, "s2")
            assert (s2 >= 0).any()
            np.testing.assert_array_equal(s2[s2 >= 0], cover[s2 >= 0])
            dem = where_of(data, batch, k, epoch, "dem")
            np.testing.assert_array_equal(dem[dem >= 0], coarser(cover, 2)[dem >= 0])
            if len(data.dates("photo", k, epoch)):
                photo = where_of(data, batch, k, epoch, "photo")
                at = np.argwhere(photo >= 0)
                steps = photo[photo >= 0] - cover[at[:, 0] // 2, at[:, 1] // 2]
                assert set(steps.tolist()) <= {0, 1, 100, 101}, "each in the pixel it lies in"
            views.add(tuple(np.argsort(cover.ravel()).tolist()))
    assert len(views) == 8, "windows are turned, too"


def test_every_corner_is_reached(cubes):
    contract = contract_for(cubes["packed"], modalities=["dem"], window=200)
    data = CubeDataset(cubes["packed"], contract, split=None, targets=["cover"])
    assert len(data) == 3, "one window a sample"
    reached = [set(), set(), set()]
    for epoch in range(150):
        for cover in whole(data, epoch).targets["cover"].numpy():
            sample, *at = corner(cover)
            reached[sample].add(tuple(at))
    everywhere = {(r, c) for r in range(5) for c in range(5)}
    assert reached == [everywhere] * 3


def test_all_places_give_the_same_windows(cubes, contract, monkeypatch):
    data = data_sets(cubes, contract, monkeypatch, split=None, seed=5, targets=TARGETS)
    for epoch in (0, 3):
        all_alike({kind: whole(d, epoch) for kind, d in data.items()})


def test_windows_are_a_function_of_seed_epoch_and_row(cubes, contract):
    data = CubeDataset(cubes["packed"], contract, split=None, seed=5, targets=TARGETS)
    again = CubeDataset(cubes["memory"], contract, split=None, seed=5, targets=TARGETS)
    batch = data.__getitems__([(4, 20), (4, 1), (1, 20), (4, 20)])
    for k, key in enumerate([(4, 20), (4, 1), (1, 20), (4, 20)]):
        alone = again[key]
        assert torch.equal(batch.targets["cover"][k], alone.targets["cover"][0])
        for name, series in batch.series.items():
            assert torch.equal(series.values[k], alone.series[name].values[0])
    train = CubeDataset(cubes["packed"], contract, split="val", seed=5, targets=TARGETS)
    everything = whole(data, 2).targets["cover"][9:18]
    assert torch.equal(whole(train, 2).targets["cover"], everything), "whatever else is chosen"


def covers(data, epoch):
    return [tuple(c.flatten().tolist()) for c in whole(data, epoch).targets["cover"]]


def test_windows_differ_between_repeats_epochs_and_seeds(cubes, contract):
    data = CubeDataset(cubes["packed"], contract, split=None, seed=5, targets=TARGETS)
    other = CubeDataset(cubes["packed"], contract, split=None, seed=6, targets=TARGETS)
    first = covers(data, 0)
    assert covers(data, 0) == first
    assert len(set(first)) >= len(first) - 2, "repeats of a sample differ, but for chance"
    for found in (covers(data, 1), covers(other, 0)):
        assert sum(a == b for a, b in zip(first, found, strict=True)) <= 1


def test_processes_and_workers_share_windows(cubes, contract):
    data = CubeDataset(cubes["packed"], contract, split=None, seed=1, targets=["cover"])
    alone = epoch_of(loader(data, 6), 2)
    ranks = [epoch_of(loader(data, 3, rank=r, world=2, workers=r), 2) for r in range(2)]
    for k, batch in enumerate(alone):
        shares = [tuple(c.flatten().tolist()) for r in ranks for c in r[k].targets["cover"]]
        assert sorted(shares) == sorted(tuple(c.flatten().tolist()) for c in batch.targets["cover"])


@pytest.mark.parametrize("kind", ["memory", "dask", "files", "packed"])
@pytest.mark.parametrize("window", [80, 140, 160])
def test_evaluation_tiles_each_sample_evenly(cubes, kind, window):
    contract = contract_for(cubes[kind], window=window, dates={"s2": 2})
    cut = cut_for(cubes[kind], contract)
    data = CubeDataset(cut, contract, split=None, train=False, targets=["cover"])
    repeats = 280 // window
    assert len(data) == 3 * repeats**2
    for epoch in (0, 1):
        batch = whole(data, epoch)
        for k, cover in enumerate(batch.targets["cover"].numpy()):
            sample, r = divmod(k, repeats**2)
            expected = sample, r // repeats * CELLS // repeats, r % repeats * CELLS // repeats
            assert corner(cover) == expected
            s2 = where_of(data, batch, k, epoch, "s2")
            np.testing.assert_array_equal(s2[s2 >= 0], cover[s2 >= 0])
    assert cut_for(cut, contract) is cut
    assert sorted(batch.sample.tolist()) == list(range(len(data)))


def test_evaluation_windows_are_the_same_from_everywhere(cubes, contract, monkeypatch):
    cut = {kind: cut_for(cube, contract) for kind, cube in cubes.items()}
    options = {"split": None, "train": False, "targets": ("cover",)}
    sets = {kind: CubeDataset(c, contract, **options) for kind, c in cut.items()}
    packed = loader(sets["packed"], 5, workers=1)
    all_alike({kind: whole(d) for kind, d in sets.items()})
    for one, other in zip(packed, loader(sets["memory"], 5), strict=True):
        same_bits(one, other)


def test_clouds_beside_a_window_do_not_matter(tmp_path):
    """The left half is clear on one date, the right half on the other."""
    valid = np.zeros((1, 2, 8, 8), bool)
    valid[0, 0, :, :4] = valid[0, 1, :, 4:] = True
    values = np.broadcast_to(np.array([100.0, 200])[None, :, None, None, None], (1, 2, 2, 8, 8))
    ds = make_modality(values, days([2], 2), valid=valid, bands=list("ab"), units="m", gsd=10)
    cube = cube_of({"m": ds})
    packed = open_store(pack_cube(cube, tmp_path / "cube.zarr"))
    contract = contract_for(cube, window=20, dates={"m": 1}, patch={"m": 2})
    seen = set()
    for given in (cube, packed, from_files(cube, tmp_path / "files")):
        data = CubeDataset(given, contract, seed=3)
        for epoch in range(12):
            series = whole(data, epoch).series["m"]
            assert series.valid is None or series.valid.any((1, 2, 3)).all()
            seen |= set(np.rint(series.values[:, 0, 0, 0, 0].numpy() * 1000).tolist())
    assert seen == {100, 200}


def test_windows_of_one_sample_share_its_memory(cubes, contract):
    cube = cubes["memory"]
    data = CubeDataset(cube, contract, split=None)
    for name, source in data.sources.items():
        assert source.read.values.nbytes <= cube[name]["values"].nbytes
    one = CubeDataset(cube, contract, split="test", seed=5)
    assert one.sources["s2"].read.values.shape[0] == 1


def test_a_window_as_large_as_the_sample_is_the_sample(cubes):
    contract = contract_for(cubes["packed"], window=280)
    data = CubeDataset(cubes["packed"], contract, split=None)
    assert data.windows is None and len(data) == 3
    assert cut_for(cubes["packed"], contract) is cubes["packed"]


def test_a_contract_for_windows_tells_their_pixels(cubes):
    contract = contract_for(cubes["packed"], window=80)
    assert {n: m.pixels for n, m in contract.modalities.items()} == {"s2": 8, "photo": 16, "dem": 4}
    assert {n: m.pixels * m.gsd for n, m in contract.modalities.items()} == dict.fromkeys(
        ("s2", "photo", "dem"), 80.0
    )
    check_contract(cubes["packed"], contract)


@pytest.mark.parametrize(
    ("window", "words"),
    [
        (85, r"a window of 85 m\n.*a multiple of 10 m.*280 m\n.*8\.5 pixels"),
        (30, r"dem: a window of 30 m\n.*a multiple of 20 m"),
        (300, r"a window of 300 m\n.*at most the sample's 280 m\n.*30 pixels"),
        (-80, r"a window of -80 m"),
        (4, r"a window of 4 m"),
    ],
)
def test_a_contract_for_impossible_windows_is_refused(cubes, window, words):
    with pytest.raises(ContractError, match=words):
        contract_for(cubes["packed"], window=window)


def test_cubes_that_do_not_fit_are_told(cubes, contract):
    cube = cubes["packed"]
    with pytest.raises(
        ContractError, match=r"larger than.*\n.*s2 of 8 px.*\n.*s2 of 28 px.*\n.*cut"
    ):
        CubeDataset(cube, contract, split=None, train=False)
    small = cut_for(cube, contract_for(cube, window=40))
    with pytest.raises(ContractError, match=r"do not fit\n.*s2: window 8 x 8 px.*\n.*4 x 4 px"):
        CubeDataset(small, contract, split=None)
    uneven = edited(cube, "dem", lambda ds: ds.isel(y=slice(0, 6), x=slice(0, 6)))
    with pytest.raises(ContractError, match=r"cannot be cut.*same share.*\n.*s2 .* cells, .*dem"):
        check_contract(uneven, contract)
    oblong = edited(cube, "dem", lambda ds: ds.isel(y=slice(0, 10)))
    with pytest.raises(ContractError, match=r"dem: samples are not square"):
        CubeDataset(oblong, contract, split=None)
    with pytest.raises(
        ContractError, match=r"modality photo.*\n.*not in the cube, which has s2, dem"
    ):
        cut_for(only(cube, "s2", "dem"), contract)
    with pytest.raises(ContractError, match=r"s2: units m.*\n.*DN"):
        cut_for(changed(cube, "s2", lambda ds: ds.assign_attrs(units="DN")), contract)
    with pytest.raises((ContractError, CubeError)):
        cut_for(
            edited(cube, "targets", lambda ds: ds.isel(y=slice(0, 27), x=slice(0, 27))), contract
        )
    assert modality_names(cut_for(cube, contract)) == ["s2", "photo", "dem"]
