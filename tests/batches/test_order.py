"""In which order samples come, for any number of workers and processes, and after a resume."""

from itertools import chain

import pytest

from maestro_lab.batches import CubeDataset, contract_for, loader
from maestro_lab.cubes.contract import make_modality
from maestro_lab.errors import ParameterError
from tests.batches.cubes import cube_of, days, small_cube
from tests.batches.test_dataset import same


def of_length(n, *, train=True, seed=0):
    ds = make_modality(
        [[[[[1.0, 2], [3, 4]]]]] * n, days([1] * n, 1), bands=["z"], units="m", gsd=10
    )
    cube = cube_of({"m": ds})
    return CubeDataset(cube, contract_for(cube), train=train, seed=seed)


def keys(data, batch_size, *, epoch=0, skip=0, **options):
    order = loader(data, batch_size, **options).batch_sampler
    order.epoch, order.skip = epoch, skip
    found = list(order)
    assert all(e == epoch for batch in found for e, _ in batch)
    return [[i for _, i in batch] for batch in found]


def test_workers_change_nothing():
    cube = small_cube()
    data = CubeDataset(cube, contract_for(cube, dates={"s2": 4, "s1": 3}), split=None, seed=5)
    here, there = loader(data, 3), loader(data, 3, workers=2)
    for epoch in (1, 2):
        here.batch_sampler.epoch = there.batch_sampler.epoch = epoch
        pairs = list(zip(here, there, strict=True))
        assert len(pairs) == 2
        for one, other in pairs:
            same(one, other)
    there.batch_sampler.skip = 1
    (resumed,) = there
    same(resumed, pairs[1][1])


@pytest.mark.parametrize("n", [1, 4, 7, 12, 13, 16])
@pytest.mark.parametrize(("batch_size", "world"), [(1, 3), (2, 2), (3, 4), (6, 2)])
def test_processes_share_the_batches_of_one(n, batch_size, world):
    for train in [False, True] if n >= world else [False]:
        check_shares(n, batch_size, world, train)


def check_shares(n, batch_size, world, train):
    data = of_length(n, train=train)
    alone = keys(data, batch_size * world)
    ranks = [keys(data, batch_size, rank=r, world=world) for r in range(world)]
    for k, batch in enumerate(alone):
        shares = [rank[k] for rank in ranks if k < len(rank)]
        assert sorted(chain(*shares)) == sorted(batch)
        assert all(1 <= len(share) <= batch_size for share in shares)
    for r, batches in enumerate(ranks):
        assert len(loader(data, batch_size, rank=r, world=world)) == len(batches)
    if train:
        assert len({len(batches) for batches in ranks}) == 1, "a process would wait for ever"


def test_each_epoch_is_shuffled_anew():
    data = of_length(32)
    first, second = keys(data, 4, epoch=1), keys(data, 4, epoch=2)
    assert first != second
    assert sorted(chain(*first)) == sorted(chain(*second)) == list(range(32))
    assert keys(of_length(32), 4, epoch=1) == first
    assert keys(of_length(32, seed=1), 4, epoch=1) != first


@pytest.mark.parametrize("skip", [0, 1, 7, 8])
def test_a_resume_goes_on_where_it_stopped(skip):
    data = of_length(32)
    assert keys(data, 4, epoch=3, skip=skip) == keys(data, 4, epoch=3)[skip:]


def test_evaluation_neither_shuffles_nor_drops():
    data = of_length(11, train=False)
    for epoch in (0, 1):
        assert keys(data, 4, epoch=epoch) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]


def test_training_drops_an_incomplete_batch_unless_it_is_the_only_one():
    data = of_length(11)
    assert [len(batch) for batch in keys(data, 4)] == [4, 4]
    assert [len(batch) for batch in keys(data, 64)] == [11]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 0}, "batch_size\n.*at least 1\n.*0"),
        ({"batch_size": 2.0}, "batch_size\n.*whole number"),
        ({"batch_size": True}, "batch_size"),
        ({"batch_size": 2, "workers": -1}, "workers\n.*at least 0"),
        ({"batch_size": 2, "rank": 2, "world": 2}, "rank\n.*0 to 1\n.*2"),
        ({"batch_size": 2, "world": 5}, "fewer samples than processes\n.*at least 5\n.*4"),
    ],
)
def test_refuses_impossible_orders(options, words):
    with pytest.raises(ParameterError, match=words):
        loader(of_length(4), **options)
