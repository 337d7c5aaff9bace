"""Random contracts, models and batches, for tests of what holds for all of them."""

import torch
from hypothesis import assume
from hypothesis import strategies as st

from maestro_lab.batches import Batch, Series
from maestro_lab.contract import Contract, Modality
from maestro_lab.models.config import MaestroConfig, Size
from maestro_lab.models.layout import Stream
from maestro_lab.models.maestro import Maestro
from maestro_lab.models.masking import Masking, split_mask
from maestro_lab.models.tokens import patchify, take, unpatchify

STEP = 2.0**-8  # a number rounded to bfloat16 is off by half of this, relative to its size
SIZE = Size(16, 2, 2, 8, 32, 24, 1, 2, 12, 48)
SEEDS = st.integers(0, 2**31)
MODES = (("group", 0), ("group", 1), ("mod", 0), ("mod", 1), ("monotemp", 0), ("shared", 0))


@st.composite
def groups(draw, bands) -> list[list[str]]:
    """One or two groups of bands, in any order."""
    order = draw(st.permutations(bands))
    cut = draw(st.integers(1, len(bands)))
    return [list(part) for part in (order[:cut], order[cut:]) if part]


@st.composite
def modalities(draw, most_dates: int = 3) -> Modality:
    bands = [f"b{i}" for i in range(draw(st.integers(1, 4)))]
    norm, grid = draw(groups(bands)), draw(st.integers(1, 3))
    patch = draw(st.integers(2 if min(map(len, norm)) == 1 else 1, 3))
    return Modality(
        bands, "DN", gsd=10, pixels=patch * grid, patch=patch,
        dates=draw(st.integers(1, most_dates)), token_groups=draw(groups(bands)), norm_groups=norm,
        fusion_group=draw(st.sampled_from(["", "together"])),
    )  # fmt: skip


@st.composite
def models(draw, modes=MODES, loss=("l1_norm",), **masking) -> Maestro:
    """A model in any fusion mode; ``masking`` as in :class:`Masking`."""
    several = draw(st.lists(modalities(), min_size=1, max_size=3))
    fusion, joint = draw(st.sampled_from(modes))
    contract = Contract({f"m{i}": m for i, m in enumerate(several)}, draw(st.integers(3, 7)))
    torch.manual_seed(draw(SEEDS))
    chosen = draw(st.sampled_from(loss))
    return Maestro(MaestroConfig(contract, SIZE, fusion, joint, Masking(**masking), chosen)).eval()


def make_batch(contract: Contract, seed: int, samples: int = 3, *, gaps: bool = False) -> Batch:
    """Random pixels and dates; with ``gaps`` some dates, pixels and a whole modality are absent."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape):
        return torch.rand(*shape, generator=generator)

    series = {}
    for name, m in contract.modalities.items():
        when = torch.stack(
            [
                torch.randint(low, high, (samples, m.dates), generator=generator)
                for low, high in ((2018, 2023), (1, 366), (0, 24))
            ],
            -1,
        )
        valid = None
        if gaps:
            valid = uniform(samples, m.dates, m.pixels, m.pixels) > 0.2
            valid &= uniform(samples, m.dates, 1, 1) > 0.3
            valid &= uniform(samples, 1, 1, 1) > 0.2
        values = uniform(samples, m.dates, len(m.bands), m.pixels, m.pixels)
        series[name] = Series(values, when, valid)
    return Batch(series, torch.tensor([[2020, 180, 12]] * samples), torch.arange(samples))


def changed(batch: Batch, **values: torch.Tensor) -> Batch:
    """The same batch with other pixels in some modalities."""
    series = {n: Series(values.get(n, s.values), s.dates, s.valid) for n, s in batch.series.items()}
    return Batch(series, batch.ref_date, batch.sample)


def by_sample(stream: Stream, rows: torch.Tensor) -> torch.Tensor:
    """Rows of a stream (b, ...), or (b*g*d, ...) of a folded one, as (b, ...)."""
    return rows.unflatten(0, (-1, stream.images)) if stream.folded else rows


def by_modality(model: Maestro, masks: dict) -> dict[str, torch.Tensor]:
    """Masks of streams as masks of modalities (b, g, d, l)."""
    found = {}
    for stream in model.streams:
        for name, part in stream.split(masks[stream.name][..., None]).items():
            found[name] = part[..., 0]
    return found


@torch.no_grad()
def encode(model: Maestro, batch: Batch, masks: dict) -> dict[str, torch.Tensor]:
    """Encode what is visible: stream to (b, ...)."""
    sequences, _ = model.sequences(batch)
    seen = {s.name: split_mask(masks[s.name], model.masked_count(s))[0] for s in model.streams}
    encoded = model.encode_visible(
        {name: take(s.tokens, seen[name]) for name, s in sequences.items()},
        {name: take(s.present, seen[name]) for name, s in sequences.items()},
    )
    return {s.name: by_sample(s, encoded[s.name]) for s in model.streams}


def hidden_image(model: Maestro, masks: dict, data) -> tuple[str, int, int, torch.Tensor]:
    """Draw a modality, band group and date with two masked patches or more in sample 0."""
    found = [
        (name, g, d, mask[0, g, d].nonzero().flatten())
        for name, mask in by_modality(model, masks).items()
        for g in range(mask.shape[1])
        for d in range(mask.shape[2])
        if mask[0, g, d].sum() >= 2
    ]
    assume(found)
    return data.draw(st.sampled_from(found))


def with_patches(batch: Batch, model: Maestro, where: tuple, change) -> Batch:
    """Change the patches (l, c, p*p) of one image and band group of sample 0."""
    name, group, date = where
    m, values = model.modalities[name], batch.series[name].values.clone()
    bands = [m.bands.index(b) for b in m.token_groups[group]]
    patches = patchify(values[0, date, bands], m.patch)
    values[0, date, bands] = unpatchify(change(patches), m.patch)
    return changed(batch, **{name: values})


def mask_of(model: Maestro, first: dict, samples: int, seed: int) -> dict[str, torch.Tensor]:
    """Masks of the exact count that hide some tokens of a stream, and others at random."""
    generator, masks = torch.Generator().manual_seed(seed), {}
    for stream in model.streams:
        rank = torch.rand(samples, stream.length, generator=generator)
        rank = rank - first.get(stream.name, torch.zeros(stream.length))
        hidden = rank.argsort(1)[:, : model.masked_count(stream)]
        masks[stream.name] = torch.zeros_like(rank, dtype=torch.bool).scatter_(1, hidden, True)
    return masks


def apart(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Root mean squared difference, relative to what is expected."""
    found, expected = found.detach().double(), expected.detach().double()
    return float((found - expected).norm() / expected.norm())
