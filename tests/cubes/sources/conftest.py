"""Sound folders of five native layouts, to be copied and damaged."""

from __future__ import annotations

import shutil

import pytest

from tests.cubes.sources import layouts

PASTIS = {"train": ["10000"], "val": ["10001"], "test": []}
FLAIR = {"train": ["D004-2021_AA-S1-32_1-2"], "val": ["D075-2020_UU-S2-1_0-0"], "test": []}
NAIP = {"train": ["32612_960_-6049"], "val": ["32613_7_-6050"], "test": []}
TREESAT = {"train": ["Quercus_1_WEFL_NLF"], "val": ["Acer_3"], "test": []}
WRITERS = {
    "pastis-hd": lambda root: layouts.write_pastis(root, PASTIS),
    "flair-hub": lambda root: layouts.write_flair(root, FLAIR),
    "flair2": lambda root: layouts.write_flair(root, FLAIR, version="flair2"),
    "s2-naip": lambda root: layouts.write_s2_naip(root, NAIP),
    "treesatai-ts": lambda root: layouts.write_treesat(root, TREESAT),
}


@pytest.fixture(scope="session")
def sound(tmp_path_factory):
    """A function that copies a sound folder of a layout and tells what is in its tiles."""
    shelf, written = tmp_path_factory.mktemp("sound"), {}

    def copy(layout, to):
        if layout not in written:
            written[layout] = WRITERS[layout](shelf / layout)
        shutil.copytree(shelf / layout, to)
        return written[layout]

    return copy
