"""Batches are the same, to the bit, wherever the pixels come from and whoever prepares them."""

import pickle

import numpy as np
import pytest
import torch
import xarray as xr
from torch.utils.data import Dataset

from maestro_lab.batches import CubeDataset, contract_for, dataset, loader, source
from maestro_lab.cubes.packed.arrays import PackedArray, PackedSeries
from maestro_lab.cubes.packed.writing import pack_cube
from maestro_lab.cubes.sources.treesatai import open_treesatai
from maestro_lab.cubes.store import open_store
from tests.batches.cubes import changed
from tests.batches.test_dataset import marked_cube, whole
from tests.cubes.packing import KINDS, from_files, make_cube, many

TARGETS = ("species", "cover", "biomass", "age", "height")
DATES = {"s2": 4, "s1": 3, "dem": 1}


def parts(batch):
    """Return every tensor of a batch, by name."""
    found = {"ref_date": batch.ref_date, "sample": batch.sample}
    found |= {f"target {name}": values for name, values in batch.targets.items()}
    for name, series in batch.series.items():
        for part in ("values", "dates", "valid"):
            found[f"{name} {part}"] = getattr(series, part)
    return found


def same_bits(one, other, where=""):
    one, other = parts(one), parts(other)
    assert list(one) == list(other)
    for name, a in one.items():
        b = other[name]
        assert (a is None) == (b is None), (where, name)
        if a is not None:
            assert (a.dtype, a.shape) == (b.dtype, b.shape), (where, name)
            assert a.numpy().tobytes() == b.numpy().tobytes(), (where, name)


@pytest.fixture(scope="module")
def cubes(tmp_path_factory):
    """One cube in four places."""
    folder, cube = tmp_path_factory.mktemp("places"), make_cube()
    return {
        "memory": cube,
        "dask": cube.chunk(sample=2),
        "files": from_files(cube, folder / "files"),
        "packed": open_store(pack_cube(cube, folder / "cube.zarr", samples=3)),
    }


def data_sets(cubes, contract, monkeypatch, **options):
    found = {}
    for kind, cube in cubes.items():
        with monkeypatch.context() as patch:
            if kind == "dask":  # too large for memory
                patch.setattr(dataset, "_IN_MEMORY", 0)
                patch.setattr(source, "_IN_MEMORY", 0)
            found[kind] = CubeDataset(cube, contract, **options)
    first = {kind: next(iter(data.sources.values())).read for kind, data in found.items()}
    assert isinstance(first["memory"].values, np.ndarray)
    assert not isinstance(first["dask"].values, np.ndarray)
    assert isinstance(first["packed"], PackedSeries)
    assert not hasattr(first["files"], "values")
    return found


def all_alike(batches):
    expected = batches.pop("memory")
    for kind, batch in batches.items():
        same_bits(batch, expected, kind)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("split", ["train", None])
def test_all_places_give_the_same_batches(cubes, monkeypatch, train, split):
    contract = contract_for(cubes["memory"], dates=DATES)
    options = {"train": train, "split": split, "seed": 3, "targets": TARGETS}
    data = data_sets(cubes, contract, monkeypatch, **options)
    for epoch in (0, 1, 5):
        all_alike({kind: whole(d, epoch) for kind, d in data.items()})
    keys = [(1, 3), (0, 0), (7, 3), (1, 1)]
    all_alike({kind: d.__getitems__(keys) for kind, d in data.items()})
    for name in TARGETS:
        labels = {kind: d.labels(name).numpy().tobytes() for kind, d in data.items()}
        assert len(set(labels.values())) == 1


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize(
    "modalities",
    [
        {"s2": ["b3", "b1"], "photo": ["b2", "b0", "b1"]},
        {"never": ["b1", "b0"], "s1": ["b1"]},
        {"dem": ["b0"], "level": ["b0"], "s2": ["b0", "b2", "b1", "b3"]},
    ],
)
def test_bands_in_another_order_and_missing_modalities(cubes, monkeypatch, train, modalities):
    contract = contract_for(cubes["memory"], modalities=modalities, dates=2)
    data = data_sets(cubes, contract, monkeypatch, train=train, split=None, samples=[7, 2, 3, 0, 6])
    batches = {kind: whole(d, 1) for kind, d in data.items()}
    for name, bands in modalities.items():
        series, ds = batches["packed"].series[name], cubes["memory"][name].to_dataset()
        assert series.values.shape[2] == len(bands)
        assert torch.isfinite(series.values).all()
        for k, sample in enumerate([0, 2, 3, 6, 7]):
            dates = data["packed"].dates(name, k, 1)
            assert (series.valid is None) or not series.valid[k, len(dates) :].any()
            if not train and len(dates):
                chosen = ds["values"].sel(band=bands).values[sample, dates].astype("f4")
                valid = ds["valid"].values[sample, dates]
                expected = chosen / np.float32(contract.modalities[name].divide)
                for t, clear in enumerate(valid):
                    np.testing.assert_array_equal(
                        series.values[k, t].numpy()[:, clear], expected[t][:, clear]
                    )
    all_alike(batches)


def test_bands_that_lie_in_another_order(cubes, monkeypatch):
    contract = contract_for(cubes["memory"], modalities=["s2"], dates=2)
    moved = {
        kind: changed(cube, "s2", lambda ds: ds.isel(band=[2, 0, 3, 1]))
        for kind, cube in cubes.items()
    }
    for train in (True, False):
        expected = whole(CubeDataset(cubes["packed"], contract, train=train), 1)
        for kind, cube in moved.items():
            same_bits(whole(CubeDataset(cube, contract, train=train), 1), expected, kind)


class Several(Dataset):
    """Data sets of one length side by side: their workers need starting only once."""

    def __init__(self, parts):
        self.parts = parts
        self.train, self.seed = parts[0].train, parts[0].seed

    def __len__(self):
        return len(self.parts[0])

    def __getitems__(self, keys):
        return [data.__getitems__(keys) for data in self.parts]


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker")
@pytest.mark.parametrize("train", [True, False])
def test_workers_and_a_resume_change_nothing(cubes, monkeypatch, train):
    contract = contract_for(
        cubes["memory"], modalities=["s2", "s1", "photo"], dates={"s2": 4, "s1": 3}
    )
    options = {"train": train, "split": None, "seed": 9, "targets": ("species", "cover")}
    data = Several(list(data_sets(cubes, contract, monkeypatch, **options).values()))
    expected = {epoch: epoch_of(loader(data, 3), epoch) for epoch in (0, 3)}
    assert [len(batches[0]) for batches in expected[3]] == [3, 3, 3] + [1] * (not train)
    for batches in expected[3]:
        all_alike(dict(zip(cubes, batches, strict=True)))
    for workers in (1, 4):
        made = loader(data, 3, workers=workers)
        for epoch, skip in ((3, 0), (0, 0), (3, 1), (3, 2)):
            found = epoch_of(made, epoch, skip)
            assert len(found) == len(expected[epoch]) - skip
            for batches, others in zip(found, expected[epoch][skip:], strict=True):
                for one, other in zip(batches, others, strict=True):
                    same_bits(one, other, f"{workers} workers")


def epoch_of(made, epoch, skip=0):
    made.batch_sampler.epoch, made.batch_sampler.skip = epoch, skip
    return list(made)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_a_pack_without_overlap_or_loss(cubes, train, world):
    contract = contract_for(cubes["packed"], modalities=["s2", "photo"], dates=2)
    data = CubeDataset(cubes["packed"], contract, train=train, split=None, seed=1)
    alone = epoch_of(loader(data, 2 * world), 4)
    ranks = [epoch_of(loader(data, 2, rank=r, world=world), 4) for r in range(world)]
    for k, batch in enumerate(alone):
        shares = [rank[k] for rank in ranks if k < len(rank)]
        numbers = [int(n) for share in shares for n in share.sample]
        assert sorted(numbers) == sorted(batch.sample.tolist()) and len(set(numbers)) == len(
            numbers
        )
        where = {int(n): i for i, n in enumerate(batch.sample)}
        for share in shares:
            for i, n in enumerate(share.sample.tolist()):
                one, other = share.series["s2"], batch.series["s2"]
                assert torch.equal(one.values[i], other.values[where[n]])
    if not train:
        seen = sorted(n for rank in ranks for batch in rank for n in batch.sample.tolist())
        assert seen == list(range(10))


def test_evaluation_of_a_pack_neither_shuffles_drops_nor_turns(cubes):
    contract = contract_for(cubes["packed"], modalities=["dem", "photo"], dates=2)
    data = CubeDataset(cubes["packed"], contract, train=False, split=None, targets=["cover"])
    for epoch in (0, 1):
        batches = epoch_of(loader(data, 4), epoch)
        assert [b.sample.tolist() for b in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
        cover = torch.cat([b.targets["cover"] for b in batches])
        expected = cubes["memory"]["targets"]["cover"].values
        np.testing.assert_array_equal(cover.numpy(), expected)


@pytest.mark.parametrize("kind", ["files", "packed"])
def test_modalities_and_targets_turn_together(kind, tmp_path):
    """Optics, elevation and the target show one picture, whose eight views all differ."""
    cube = marked_cube(12)
    if kind == "files":
        cube = from_files(cube, tmp_path / "files")
    else:
        cube = open_store(pack_cube(cube, tmp_path / "cube.zarr", samples=5))
    data = CubeDataset(cube, contract_for(cube, modalities={"s2": ["c", "a"], "dem": ["z"]}),
                       targets=["picture"])  # fmt: skip
    views = set()
    for epoch in range(3):
        batch = whole(data, epoch)
        pictures, dem = batch.targets["picture"], batch.series["dem"].values[:, 0, 0]
        np.testing.assert_allclose(dem * 1000, pictures, rtol=1e-6)
        hole = pictures == 100
        assert torch.equal(batch.series["s2"].valid[:, 1], ~hole)
        for band in (0, 1):
            s2 = batch.series["s2"].values[:, 0, band]
            np.testing.assert_allclose(s2[~hole], dem[~hole], rtol=1e-6)
        views |= {tuple(p.flatten().tolist()) for p in pictures}
    assert len(views) == 8


def test_data_on_disk_is_not_sent_to_workers(tmp_path):
    cube = many(600)
    rng = np.random.default_rng(0)
    maps = xr.Dataset(
        {"map": (("sample", "y", "x"), rng.integers(0, 9, (600, 40, 40)), {"task": "segmentation"})}
    )
    cube = xr.DataTree(
        cube.to_dataset(inherit=False),
        children={"one": xr.DataTree(cube["one"].to_dataset(inherit=False)),
                  "targets": xr.DataTree(maps)},
    )  # fmt: skip
    packed = open_store(pack_cube(cube, tmp_path / "cube.zarr"))
    data = CubeDataset(packed, contract_for(packed, dates=2), targets=["map"])
    before = len(pickle.dumps(data))
    assert before < 150_000 < maps["map"].nbytes / 10
    assert isinstance(data.targets["map"]._data, PackedArray)
    expected = whole(data, 1)
    assert len(pickle.dumps(data)) < before + 20_000, "what was mapped stays here"
    same_bits(whole(pickle.loads(pickle.dumps(data)), 1), expected)


def test_a_pack_is_read_without_dask(cubes):
    contract = contract_for(cubes["packed"], dates=DATES)
    data = CubeDataset(cubes["packed"], contract, split=None, targets=TARGETS)
    expected = whole(data, 2)

    def refuse(*_, **__):
        raise AssertionError("dask was asked to compute")

    import dask

    with dask.config.set(scheduler=refuse):
        fresh = pickle.loads(pickle.dumps(data))
        same_bits(whole(fresh, 2), expected)
        with pytest.raises(AssertionError, match="dask was asked"):
            cubes["packed"]["s2"]["values"].compute()


def test_every_type_of_number_is_there(cubes):
    kinds = {name: str(cubes["packed"][name]["values"].dtype) for name in KINDS}
    assert set(kinds.values()) == {"uint16", "float32", "uint8", "int16", "float64"}


@pytest.mark.parametrize("train", [True, False])
def test_a_treesatai_folder_and_its_pack_give_the_same_batches(tmp_path, train):
    from tests.cubes.sources.test_treesatai import folder

    native = open_treesatai(folder.__wrapped__(tmp_path))
    packed = open_store(pack_cube(native, tmp_path / "treesat.zarr"))
    contract = contract_for(native, dates={"s2": 3, "s1_asc": 1, "s1_des": 1})
    options = {"split": None, "train": train, "targets": ["species"]}
    sets = [CubeDataset(c, contract, **options) for c in (native, packed, native.copy().load())]
    for epoch in range(3):
        one, *others = [whole(data, epoch) for data in sets]
        for other in others:
            same_bits(other, one)
