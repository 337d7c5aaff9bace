"""Masks against statistics of the published code, within the error of both samples.

Every statistic is written as a mean over samples of something each sample contributes (for
deviations and correlations: its influence), so that its standard error is known whatever depends
on whatever within a sample. The published code breaks ties among surplus structural tokens by
their order in all variants but one; what that does not touch is compared in the others.
"""

import json
import math

import pytest
import torch

from maestro_lab.contract import Contract, Modality
from maestro_lab.models.config import MaestroConfig, Size
from maestro_lab.models.maestro import Maestro
from maestro_lab.models.masking import Block, Masking, keys_for, structural_mask

DRAWS = 20_000
TOLERANCE = 5.0  # standard errors; of some ten thousand normal numbers the largest is about 4
SPREAD = (0.5, 1.5)  # of the mean square of all differences of a variant, in standard errors
FEWEST = 30  # samples that must be expected in a bin of a histogram; rarer bins are put together
SIZE = Size(16, 1, 1, 16, 32, 16, 1, 1, 16, 32)

# Variant to what is compared: structural masks, and final masks of the modalities in which a rule
# for ties can change nothing, or is ours. The 20000 draws were made once and recorded with three
# rules for ties; a test below sees to it that what is not compared again is the same.
ALL = ("aerial", "s2", "s1_asc", "s1_des")
COMPARED = {
    "treesatai_ts_group": (ALL, ("aerial",)),
    "treesatai_ts_group_20000": (ALL, ("aerial",)),
    "treesatai_ts_group_20000_cpu_unstable_sort": ((), ("aerial",)),
    "treesatai_ts_group_20000_random_ties": ((), ("s2", "s1_asc", "s1_des")),
    "treesatai_ts_mod": (ALL, ("aerial",)),
    "pastis_bandgroups_group_maskbands0.25": (("spot", "s2", "s1_asc", "s1_des"), ("spot",)),
    "treesatai_ts_group_ratio0.6_scale0.5": (ALL, ("aerial", "s2")),
}


@pytest.fixture(scope="module")
def oracle(shared) -> dict:
    return json.loads((shared / "fixtures" / "maestro" / "mask_statistics.json").read_text())


def build(name: str, variant: dict) -> Maestro:
    """Build the smallest model whose masks have the shape of a variant."""
    modalities = {}
    for modality, shape in variant["modalities"].items():
        grid = math.isqrt(shape["locations"])
        bands = [f"band{i}" for i in range(shape["band_groups"])]
        modalities[modality] = Modality(
            bands, "DN", gsd=10, pixels=2 * grid, patch=2, dates=shape["dates"],
            token_groups=[[b] for b in bands], fusion_group="s1" * modality.startswith("s1"),
        )  # fmt: skip
    c = variant["mask_config"]
    masking = Masking(
        c["mask_ratio"], c["mask_scale"], c["mask_mod"], c["mask_bands"] or 0.0,
        c["mask_dates"], c["mask_loc"],
    )  # fmt: skip
    fusion = "mod" if name.endswith("mod") else "group"
    return Maestro(MaestroConfig(Contract(modalities, 15), SIZE, fusion, 0, masking))


_DRAWN: dict[str, dict[str, dict[str, torch.Tensor]]] = {}  # several variants are of one model


def draw(model: Maestro) -> dict[str, dict[str, torch.Tensor]]:
    """Draw masks: "structural" and "final", stream to bool (draws, tokens)."""
    if repr(model.config) in _DRAWN:
        return _DRAWN[repr(model.config)]
    found: dict[str, dict[str, list]] = {"structural": {}, "final": {}}
    for samples in torch.arange(DRAWS).split(500):
        keys = keys_for(7, 0, samples)
        final = model.draw_masks(keys)
        for i, s in enumerate(model.streams):
            structural = structural_mask(keys_for(i, 0, keys), s.blocks, model.config.masking)
            found["structural"].setdefault(s.name, []).append(structural)
            found["final"].setdefault(s.name, []).append(final[s.name])
    whole = {part: {n: torch.cat(m) for n, m in each.items()} for part, each in found.items()}
    return _DRAWN.setdefault(repr(model.config), whole)


def share_of_bins(counts: torch.Tensor, bins: int) -> torch.Tensor:
    """Share of each count in a sample's counts (b, k): (b, bins)."""
    found = torch.zeros(len(counts), bins)
    return found.scatter_add_(1, counts.long(), torch.ones(counts.shape)) / counts.shape[1]


def of_deviation(x: torch.Tensor) -> torch.Tensor:
    """What each sample adds to the standard deviation of each column."""
    away, deviation = x - x.mean(0), x.std(0)
    return deviation + (away**2 - deviation**2) / (2 * deviation.clamp(min=1e-6))


def of_correlation(x: torch.Tensor) -> torch.Tensor:
    """What each sample adds to the mean correlation of different columns."""
    z = (x - x.mean(0)) / x.std(0)
    r, n = z.T @ z / len(z), x.shape[1]
    products = z.sum(1) ** 2 - (z**2).sum(1)  # of different columns
    squares = (z**2) @ (r.sum(1) - r.diagonal())
    off = r.sum() - r.diagonal().sum()
    return ((products - squares + off) / (n * (n - 1)))[:, None]


def contributions(mask: torch.Tensor, block: Block) -> dict[str, torch.Tensor]:
    """What every sample (b, tokens) adds to every statistic: name to (b, k)."""
    cube = mask.view(len(mask), block.groups, block.dates, block.locations).float()
    share, dates, places = cube.mean((1, 2, 3))[:, None], cube.mean((1, 3)), cube.mean((1, 2))
    images = cube.flatten(1, 2)  # (b, groups x dates, locations)
    on_image, on_place = images.sum(2), images.sum(1)
    found = {
        "frac_mean": share,
        "frac_std": of_deviation(share),
        "per_date_mean": dates,
        "per_date_std": of_deviation(dates),
        "per_location_mean": places,
        "per_location_std": of_deviation(places),
        "p_date_fully_masked": images.all(2).float().mean(1, keepdim=True),
        "p_location_fully_masked": images.all(1).float().mean(1, keepdim=True),
        "p_modality_fully_masked": mask.all(1, keepdim=True).float(),
        "masked_locations_per_date_hist": share_of_bins(on_image, block.locations + 1),
        "masked_dates_per_location_hist": share_of_bins(on_place, images.shape[1] + 1),
        "masked_count_hist": share_of_bins(mask.sum(1, keepdim=True), mask.shape[1] + 1),
        "per_token_prob": mask.float(),
    }
    if block.dates > 1:
        found["date_date_corr_mean"] = of_correlation(dates)
    return found


def published(name: str, value, width: int) -> torch.Tensor:
    """Bring a published statistic to the form of ours: (k,)."""
    if name == "masked_count_hist":
        counts = torch.zeros(width, dtype=torch.float64)
        counts[[int(k) for k in value]] = torch.tensor(list(value.values()), dtype=torch.float64)
        value = counts
    value = torch.as_tensor(value, dtype=torch.float64).flatten()
    return value / value.sum() if name.endswith("hist") else value


def without_rare_bins(ours: torch.Tensor, theirs: torch.Tensor, samples: int) -> tuple:
    """Put the bins together that hardly any sample falls into."""
    rare = (ours > 0).float().mean(0) * samples < FEWEST
    ours = torch.cat([ours[:, ~rare], ours[:, rare].sum(1, keepdim=True)], 1)
    theirs = torch.cat([theirs[~rare], theirs[rare].sum()[None]])
    if (ours[:, -1] > 0).float().mean() * samples < FEWEST:
        assert theirs[-1] * samples < 2 * FEWEST
        return ours[:, :-1], theirs[:-1]
    return ours, theirs


def in_errors(ours: torch.Tensor, theirs: torch.Tensor, samples: int) -> torch.Tensor:
    """Differences in standard errors; what does not vary must agree."""
    deviation, away = ours.std(0).double(), ours.mean(0, dtype=torch.float64) - theirs
    fixed = deviation < 1e-5
    assert not fixed.any() or away[fixed].abs().max() < 1e-4
    return away[~fixed] / (deviation[~fixed] * math.sqrt(1 / DRAWS + 1 / samples))


def differences(mask: torch.Tensor, block: Block, expected: dict, samples: int) -> dict:
    """Differences of all statistics of a modality, in standard errors."""
    errors, found = {}, contributions(mask, block)
    if mask.sum(1).unique().numel() == 1:
        found.pop("date_date_corr_mean", None)  # -1 / (dates - 1), whatever is drawn
    for name in sorted(set(found) & set(expected)):
        ours = found[name]
        theirs = published(name, expected[name], ours.shape[1])
        if name.endswith("hist"):
            ours, theirs = without_rare_bins(ours, theirs, samples)
        errors[name] = in_errors(ours, theirs, samples)
    return errors


@pytest.mark.parametrize("name", COMPARED)
def test_masks_are_those_of_the_published_code(oracle, name):
    variant, samples = oracle[name], oracle[name]["draws"]
    model = build(name, variant)
    drawn, errors = draw(model), {}
    for stream in model.streams:
        count, final = model.masked_count(stream), drawn["final"][stream.name]
        assert variant["masked_per_group"][stream.name] == [count]
        assert (final.sum(1) == count).all()
        structural = drawn["structural"][stream.name]
        surplus = structural.float().mean(1) > variant["mask_ratio"][stream.name]
        theirs = torch.tensor([variant["structural_frac_gt_ratio"][stream.name]])
        errors[stream.name, "surplus"] = in_errors(surplus[:, None].float(), theirs, samples)
        for part, wanted in zip(("structural", "final"), COMPARED[name], strict=True):
            pieces = drawn[part][stream.name].split([b.tokens for b in stream.blocks], dim=1)
            for modality, block, piece in zip(
                stream.modalities, stream.blocks, pieces, strict=True
            ):
                if modality in wanted:
                    expected = variant["modalities"][modality][part]
                    found = differences(piece, block, expected, samples)
                    errors |= {(modality, part, k): v for k, v in found.items()}
    worst = max((float(v.abs().max()), k) for k, v in errors.items() if v.numel())
    together = torch.cat(list(errors.values()))
    print(f"{name}: {len(together)} statistics, worst {worst}, square {together.square().mean()}")
    assert worst[0] < TOLERANCE, worst
    assert SPREAD[0] < together.square().mean() < SPREAD[1]


def test_what_is_not_compared_again_is_the_same(oracle):
    first = oracle["treesatai_ts_group_20000"]["modalities"]
    for rule in ("cpu_unstable_sort", "random_ties"):
        other = oracle[f"treesatai_ts_group_20000_{rule}"]["modalities"]
        assert all(other[m]["structural"] == first[m]["structural"] for m in ALL)


@pytest.mark.parametrize("rule", ["", "_cpu_unstable_sort"])
def test_the_tolerance_notices_another_rule_for_ties(oracle, rule):
    variant = oracle[f"treesatai_ts_group_20000{rule}"]
    model = build("treesatai_ts_group", variant)
    (stream,) = (s for s in model.streams if s.name == "s1")
    ours = draw(model)["final"]["s1"][:, : stream.blocks[0].tokens]
    expected = variant["modalities"]["s1_asc"]["final"]
    errors = differences(ours, stream.blocks[0], expected, variant["draws"])
    assert max(v.abs().max() for v in errors.values()) > TOLERANCE
