"""Batches for OlmoEarth: what is drawn, from what alone it follows, and what comes with it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import maestro_lab as ml
from maestro_lab.batches import loader
from maestro_lab.errors import ContractError, ParameterError
from maestro_lab.models.olmoearth.sample import NO_DATA
from maestro_lab.olmoearth.dataset import Crops, OlmoEarthDataset, usual_patch


@pytest.fixture(scope="module")
def cube():
    made = ml.open_cube("landscape", samples=30, modalities=["s2", "s1_asc", "dem"], window=120)
    return made.load()


@pytest.fixture(scope="module")
def config(cube):
    return ml.olmoearth_config(cube, maps=["dem", "land_cover"])


def batches(data, epoch=0, size=4, **options):
    made = loader(data, size, **options)
    made.batch_sampler.epoch = epoch
    return list(made)


def same(one, other):
    assert one.patch == other.patch and one.values.keys() == other.values.keys()
    assert all(torch.equal(one.values[n], other.values[n]) for n in one.values)
    assert torch.equal(one.timestamps, other.timestamps) and torch.equal(one.sample, other.sample)


def test_crops_are_drawn_within_bounds(cube, config):
    crops = Crops(patches=(1, 4), grid=(2, 5), budget=300)
    data = OlmoEarthDataset(cube, config, crops=crops)
    patches, grids, slots = set(), set(), set()
    for epoch in range(30):
        for batch in batches(data, epoch):
            rows, columns = batch.grid
            assert rows == columns and 1 <= batch.patch <= 4 and 2 <= rows <= 5
            assert rows * batch.patch <= 12
            dated = batch.timestamps.shape[1]
            tokens = rows**2 * (2 * dated + 2)  # two sensors, two maps, a token each
            assert tokens <= 300 or dated == 1
            if dated < 12:  # one more would not have fitted
                assert rows**2 * (2 * (dated + 1) + 2) > 300
            patches.add(batch.patch)
            grids.add(rows)
            slots.add(dated)
    assert patches == {1, 2, 3, 4} and grids == {2, 3, 4, 5} and len(slots) > 2


@pytest.mark.parametrize(
    ("grid", "expected"), list(enumerate((12, 12, 12, 12, 12, 9, 6, 4, 3, 2, 2, 1), 1))
)
def test_slots_within_the_budget_are_the_published_ones(grid, expected):
    assert min(12, Crops().slots(grid, static=6, dated=6)) == expected


def test_crops_are_parts_of_the_whole(cube, config):
    crops = Crops(patches=(2, 2), grid=(2, 3), budget=150, turn=False)
    data = OlmoEarthDataset(cube, config, crops=crops)
    corners = set()
    for epoch in range(6):
        batch = batches(data, epoch)[0]
        for k, sample in enumerate(batch.sample.tolist()):
            whole = data.input.values(sample)
            first = np.flatnonzero((data.input.timestamps[sample] ==
                                    batch.timestamps[k, 0].numpy()).all(1))[0]  # fmt: skip
            part = batch.values["sentinel2_l2a"][k].numpy()
            d, _, side, _ = part.shape
            found = [
                (i, j)
                for i in range(13 - side)
                for j in range(13 - side)
                if np.array_equal(
                    whole["sentinel2_l2a"][first : first + d, :, i : i + side, j : j + side], part
                )
            ]
            assert len(found) == 1
            i, j = found[0]
            for name in ("srtm", "land_cover"):
                cut = whole[name][..., i : i + side, j : j + side]
                np.testing.assert_array_equal(batch.values[name][k], cut)
            corners.add(found[0])
    assert len(corners) > 8


def test_turns_move_all_modalities_alike(cube, config):
    crops = Crops(patches=(2, 2), grid=(6, 6), budget=10**6)
    data = OlmoEarthDataset(cube, config, crops=crops)
    ways = set()
    for epoch in range(8):
        batch = batches(data, epoch)[0]
        for k, sample in enumerate(batch.sample.tolist()):
            whole = {n: torch.from_numpy(v) for n, v in data.input.values(sample).items()}
            fits = [
                name
                for name, turn in TURNS.items()
                if all(torch.equal(turn(whole[n]), batch.values[n][k]) for n in whole)
            ]
            assert fits
            ways.update(fits[:1])
    assert len(ways) > 5


TURNS = {
    f"{up}{left}{across}": lambda t, up=up, left=left, across=across: _turn(t, up, left, across)
    for up in (0, 1)
    for left in (0, 1)
    for across in (0, 1)
}


def _turn(t, up, left, across):
    t = t.flip(-2) if up else t
    t = t.flip(-1) if left else t
    return t.transpose(-1, -2) if across else t


def test_what_is_drawn_follows_from_seed_epoch_and_sample(cube, config):
    data, again = (OlmoEarthDataset(cube, config, crops=Crops(), seed=3) for _ in range(2))
    for one, other in zip(batches(data, 2), batches(again, 2), strict=True):
        same(one, other)
    first, other = batches(data, 0), batches(data, 1)
    assert any(
        a.patch != b.patch or a.values["sentinel1"].shape != b.values["sentinel1"].shape
        or not torch.equal(a.values["sentinel1"], b.values["sentinel1"])
        for a, b in zip(first, other, strict=True)
    )  # fmt: skip
    other = OlmoEarthDataset(cube, config, crops=Crops(), seed=4)
    assert not torch.equal(batches(data)[0].sample, batches(other)[0].sample)


def test_workers_and_a_resume_change_nothing(cube, config):
    data = OlmoEarthDataset(cube, config, crops=Crops(budget=300))
    alone, helped = batches(data, 1), batches(data, 1, workers=2)
    for one, other in zip(alone, helped, strict=True):
        same(one, other)
    resumed = loader(data, 4)
    resumed.batch_sampler.epoch, resumed.batch_sampler.skip = 1, 2
    for one, other in zip(alone[2:], list(resumed), strict=True):
        same(one, other)


def test_evaluation_draws_nothing_and_drops_nobody(cube, config):
    crops = Crops(grid=(1, 2), budget=200)
    data = OlmoEarthDataset(cube, config, split=["val", "test"], train=False, crops=crops)
    seen = batches(data, 0, 5)
    for one, other in zip(seen, batches(data, 7, 5), strict=True):
        same(one, other)
    assert torch.cat([b.sample for b in seen]).tolist() == data.index.tolist()
    assert {b.grid for b in seen} == {(2, 2)}, "crops of the middle, no larger than in training"


def test_a_first_slot_has_data_wherever_one_does(cube, config):
    data = OlmoEarthDataset(cube, config, crops=Crops(grid=(4, 4), patches=(2, 2), budget=100))
    data.input.present[:, :] = False
    data.input.present[:, [2, 9]] = True
    found = set()
    for epoch in range(4):
        for epoch_row in [(epoch, k) for k in range(len(data))]:
            found.add(data._place(*epoch_row, 8, 2)[2])
    assert found == {2, 9}
    data.input.present[:, :] = False
    data.input.present[:, 11] = True
    assert data._place(0, 0, 8, 3)[2] == 9, "the last place from which three slots reach it"


def test_targets_come_along_and_turn_with_the_pixels(cube, config):
    plain = OlmoEarthDataset(cube, config, targets=["land_cover", "species"], train=False)
    turned = OlmoEarthDataset(cube, config, targets=["land_cover", "species"])
    batch = turned.__getitems__([(0, k) for k in range(6)])
    base = plain.__getitems__([(0, k) for k in range(6)])
    assert torch.equal(batch.targets["species"], base.targets["species"])
    ways = set()
    for k in range(6):
        fits = [
            name
            for name, turn in TURNS.items()
            if torch.equal(turn(base.values["sentinel2_l2a"][k]), batch.values["sentinel2_l2a"][k])
        ]
        assert len(fits) == 1
        turn = TURNS[fits[0]]
        expected = turn(base.targets["land_cover"][k])
        assert torch.equal(batch.targets["land_cover"][k], expected)
        ways.add(fits[0])
    assert len(ways) > 1
    assert turned.labels("species").shape == (len(turned), 6)
    assert set(batch.values) == {"sentinel2_l2a", "sentinel1"}, "maps are for pretraining"


def test_samples_are_kept_and_gaps_stay_gaps(cube, config):
    data = OlmoEarthDataset(cube, config, train=False)
    again = data.input.values(0)["sentinel2_l2a"]
    assert again is data.input.values(0)["sentinel2_l2a"]
    assert (again == NO_DATA).any() and np.isfinite(again).all()
    data.input._keep = False
    data.input._kept.clear()
    np.testing.assert_array_equal(data.input.values(0)["sentinel2_l2a"], again)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Crops(patches=(0, 4)), "crops: patches\n.*from 1 to 8"),
        (lambda: Crops(patches=(2, 9)), "crops: patches"),
        (lambda: Crops(grid=(4, 2)), "crops: grid"),
        (lambda: Crops(budget=0), "crops: budget"),
    ],
)
def test_impossible_crops_are_refused(make, message):
    with pytest.raises(ParameterError, match=message):
        make()


def test_impossible_data_sets_are_refused(cube, config):
    with pytest.raises(ParameterError, match="crops or targets"):
        OlmoEarthDataset(cube, config, crops=Crops(), targets=["species"])
    with pytest.raises(ContractError, match=r"patches of 5 px in windows of 12 x 12 px"):
        OlmoEarthDataset(cube, config, patch=5)
    with pytest.raises(ParameterError, match="no sample in split buffer"):
        OlmoEarthDataset(cube, config, split="buffer")
    narrow = replace(
        config, modalities={"landsat": ml.OlmoEarthConfig.of("v1").modalities["landsat"]}
    )
    with pytest.raises(ContractError, match=r"no sensor that the model sees\n.*landsat"):
        OlmoEarthDataset(cube, narrow)


def test_usual_patches_divide():
    for side in range(1, 40):
        patch = usual_patch(side)
        assert side % patch == 0 and patch <= 8
