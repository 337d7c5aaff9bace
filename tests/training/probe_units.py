"""Units of made-up targets, to probe."""

import numpy as np

from maestro_lab.training.probe import Units


def made_units(target, split, task="regression", block=None):
    """Units of some targets; without ``block`` each is a block of its own."""
    block = np.arange(len(target)) if block is None else np.asarray(block)
    index = np.stack([np.arange(len(target)), np.zeros(len(target), int)], 1)
    return Units(np.asarray(target), np.asarray(split), block, index, task)


def parts(**counts):
    return np.repeat(list(counts), list(counts.values()))


def made_cloud():
    """Features of unequal scale that are not centred, and a number, a class and labels of them."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(640, 5)) * [1, 5, 0.2, 1, 2] + [0, 1, 0, 2, 0]
    number = rows[:, 0] + rows[:, 1] ** 2
    classes = np.array([10, 30, 20])[np.digitize(rows[:, 4] + rows[:, 3], [1, 3])]
    labels = np.stack([rows[:, 0] > 0, rows[:, 1] > 3], 1).astype(int)
    return rows, number, classes, labels, parts(train=50, val=30, test=560)
