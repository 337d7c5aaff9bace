"""Lists of samples as csv files, one a split, and the options that choose among them.

The data sets that MAESTRO is published with share one rule for their names:
``{split}[_{version}][_filtered_{percent}][_fold_{fold}].csv``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from maestro_lab.cubes.sources.files import AGAIN, read_table, refuse_options
from maestro_lab.errors import CubeError

__all__ = ["SPLITS", "Lists", "chosen_modalities"]

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Lists:
    """Which lists of a folder to read, and how many samples of each.

    Parameters
    ----------
    kind
        Name of the data set, for errors.
    root
        The folder of the lists.
    column
        Their column with the names of samples.
    splits
        Some of train, val and test, each once.
    version, filtered, fold
        Parts of the names of the lists; empty and None leave them out.
    limit
        At most so many samples a split.

    Raises
    ------
    CubeError
        If one of them makes no sense.

    Examples
    --------
    >>> Lists("pastis-hd", Path("PASTIS-HD"), "image", fold=1, filtered=10).file("train").name
    'train_filtered_10_fold_1.csv'
    """

    kind: str
    root: Path
    column: str
    splits: Sequence[str] = SPLITS
    version: str = ""
    filtered: float | None = None
    fold: int | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        splits = [self.splits] if isinstance(self.splits, str) else list(self.splits)
        object.__setattr__(self, "splits", splits)
        word = isinstance(self.version, str) and bool(re.fullmatch(r"[\w.-]*", self.version))
        refuse_options(
            self.kind,
            (
                bool(splits) and len(set(splits)) == len(splits) and set(splits) <= set(SPLITS),
                "splits",
                f"some of {', '.join(SPLITS)}, each once",
                splits,
            ),
            (word, "version", "a word, or nothing", self.version),
            (
                _percent(self.filtered),
                "filtered",
                "None, or percent above 0, to 100",
                self.filtered,
            ),
            (_whole(self.fold, 0), "fold", "None, or a whole number, 0 or more", self.fold),
            (_whole(self.limit, 1), "limit", "None, or a whole number above 0", self.limit),
        )

    def file(self, split: str) -> Path:
        """Return the file that lists a split."""
        parts = [split, self.version]
        parts += [] if self.filtered is None else [f"filtered_{self.filtered:g}"]
        parts += [] if self.fold is None else [f"fold_{self.fold}"]
        return self.root / ("_".join(part for part in parts if part) + ".csv")

    def read(self) -> pd.DataFrame:
        """Return one row a sample, with columns ``split`` and ``name``.

        Raises
        ------
        CubeError
            If a list is missing or damaged, or names a sample twice.
        """
        table = pd.concat([self._read(split) for split in self.splits], ignore_index=True)
        if table.empty:
            raise CubeError(
                f"{self.root}: no samples",
                expected=f"rows in {', '.join(self.file(s).name for s in self.splits)}",
                do="name other splits, or fetch the lists again",
            )
        twice = table[table["name"].duplicated()]
        if len(twice):
            name, split = twice.iloc[0][["name", "split"]]
            first = table.loc[table["name"] == name, "split"].iloc[0]
            raise CubeError(
                f"{self.file(split)}: {name!r} is there twice",
                expected="every sample in one split, once",
                found=f"it is in {self.file(first).name} too" if first != split else "two rows",
                do="remove one of the rows",
            )
        return table

    def _read(self, split: str) -> pd.DataFrame:
        path = self.file(split)
        if not path.exists():
            there = sorted(p.name for p in self.root.glob("*.csv"))
            found = ", ".join(there[:9]) + (", ..." if len(there) > 9 else "")
            raise CubeError(
                f"{path} does not exist",
                expected=f"a folder of {self.kind} with a list for {split}",
                found=found or ("no lists" if self.root.is_dir() else "no such folder"),
                do="name the folder with the option root, the list with version, filtered, fold",
            )
        names = read_table(path, [self.column], text=[self.column])[self.column]
        strange = names.isna() | names.str.contains(r"[/\\]|^\s*$", na=False)
        if strange.any():
            row = int(strange.to_numpy().argmax())
            raise CubeError(
                f"{path}: column {self.column!r}",
                expected="the name of a sample in each row",
                found=f"{names.iloc[row]!r} in row {row + 1}",
                do=AGAIN,
            )
        names = names.str.strip().head(self.limit)
        return pd.DataFrame({"split": split, "name": names}, dtype=object)


def _whole(value: Any, least: int) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value is None or (whole and value >= least)


def _percent(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value is None or (number and 0 < value <= 100)


def chosen_modalities(
    kind: str, known: Sequence[str], modalities: Sequence[str] | str | None
) -> list[str]:
    """Return the modalities to open, in the order of the data set; None stands for all.

    Raises
    ------
    CubeError
        If there is none, or one is unknown or named twice.

    Examples
    --------
    >>> chosen_modalities("flair2", ["aerial", "dem", "s2"], ["s2", "aerial"])
    ['aerial', 's2']
    """
    wanted = [modalities] if isinstance(modalities, str) else list(modalities or known)
    some = modalities is None or len(modalities) > 0
    good = some and len(set(wanted)) == len(wanted) and set(wanted) <= set(known)
    refuse_options(kind, (good, "modalities", f"some of {', '.join(known)}, each once", modalities))
    return [name for name in known if name in wanted]
