"""The catalogue alone gives the names and shapes of the published models, parameter by parameter.

The listing is that of checkpoints written by the published code (size tiny, group fusion, three
joint blocks, attentive head), in a compact form: W and D are the widths of encoder and decoder, Q
and R what their attention works in, H and J their hidden widths.
"""

from dataclasses import dataclass

import pytest
import torch

import maestro_lab as ml
from maestro_lab.errors import ContractError, WeightsError
from maestro_lab.models.config import MaestroConfig, Size
from maestro_lab.models.heads import Head, HeadConfig
from maestro_lab.models.maestro import Maestro
from maestro_lab.models.official import head_to_official, to_official
from tests.published.conftest import saved

TINY = {"W": 192, "Q": 192, "H": 384, "D": 512, "R": 512, "J": 768}

TRANSFORMER = """
norm.weight W
norm.bias W
layers.{i}.0.norm.weight W
layers.{i}.0.norm.bias W
layers.{i}.0.to_qkv.weight 3Q W
layers.{i}.0.to_out.0.weight W Q
layers.{i}.0.to_out.0.bias W
layers.{i}.1.net.0.weight W
layers.{i}.1.net.0.bias W
layers.{i}.1.net.1.weight H W
layers.{i}.1.net.1.bias H
layers.{i}.1.net.4.weight W H
layers.{i}.1.net.4.bias W
"""

EMBEDDING = """
patch_embed.{m}.patchify_bands.0.conv.weight W {bands} {patch} {patch}
patch_embed.{m}.patchify_bands.0.conv.bias W
patch_embed.{m}.patchify_bands.0.norm.weight W
patch_embed.{m}.patchify_bands.0.norm.bias W
embed_to_rec.{m}.pixelify_bands.0.conv.weight {pixels} D 1 1
embed_to_rec.{m}.pixelify_bands.0.conv.bias {pixels}
mask_token.{m} 1 1 1 1 D
"""

HEAD = """
heads.{t}.reduce.query W
heads.{t}.reduce.norm.weight W
heads.{t}.reduce.norm.bias W
heads.{t}.reduce.norm_fc.weight W
heads.{t}.reduce.norm_fc.bias W
heads.{t}.reduce.to_kv.weight 2W W
"""
LINEAR = "heads.{t}.linear.weight {k} W\nheads.{t}.linear.bias {k}"
CONV = "heads.{t}.conv.weight {k} W 1 1\nheads.{t}.conv.bias {k}"


@dataclass
class Data:
    """One data set: per modality bands, patch, pixel outputs and patches along a side."""

    modalities: dict
    groups: dict  # tokens of each
    head: str  # target and its outputs, if any
    keys: int
    millions: float


S2, S1 = (10, 2, 40), (2, 2, 8)
DATA = {
    "treesatai-ts": Data(
        {"aerial": (4, 20, 1600, 15), "s2": (*S2, 3), "s1_asc": (*S1, 3), "s1_des": (*S1, 3)},
        {"aerial": 225, "s2": 144, "s1": 72}, "treesat_mlc_thresh 15", 419, 15.96,
    ),
    "pastis-hd": Data(
        {"spot": (3, 16, 768, 10), "s2": (*S2, 8), "s1_asc": (*S1, 8), "s1_des": (*S1, 8)},
        {"spot": 100, "s2": 1024, "s1": 512}, "pastis_seg 76", 419, 15.39,
    ),
    "flair-hub": Data(
        {
            "aerial": (4, 16, 1024, 32), "dem": (2, 32, 2048, 16), "s2": (*S2, 5),
            "s1_asc": (*S1, 5), "s1_des": (*S1, 5),
        },
        {"aerial": 1024, "dem": 256, "s2": 400, "s1": 200}, "cosia 3840", 542, 22.34,
    ),
    "s2-naip": Data(
        {"aerial": (4, 16, 1024, 24), "spot": (3, 16, 768, 8), "s2": (*S2, 6), "s1": (*S1, 6)},
        {"aerial": 576, "spot": 64, "s2": 576, "s1": 144}, "", 527, 20.62,
    ),
}  # fmt: skip


def expand(text: str, **values) -> dict[str, tuple[int, ...]]:
    """Read lines of a name and its shape, where 3Q is three times Q."""
    found = {}
    for line in text.split("\n"):
        name, *shape = line.format(i="{i}", **values).split() or [""]
        if name:
            found[name] = tuple(
                int(s) if s.isdigit() else int(s[:-1] or 1) * TINY[s[-1]] for s in shape
            )
    return found


def transformer(prefix: str, blocks: int, *, decoder: bool = False) -> dict:
    text = TRANSFORMER
    if decoder:
        text = text.replace("Q", "R").replace(" W", " D").replace("H", "J")
    lines = expand(text)
    return {
        f"{prefix}.{name.format(i=i)}": shape
        for name, shape in lines.items()
        for i in (range(blocks) if "{i}" in name else [0])
    }


def listing(data: Data) -> dict[str, tuple[int, ...]]:
    """All names and shapes of the published model of a data set."""
    found = {}
    for m, (bands, patch, pixels, _) in data.modalities.items():
        found |= expand(EMBEDDING, m=m, bands=bands, patch=patch, pixels=pixels)
    for group in data.groups:
        found |= transformer(f"encoder.{group}", 9)
        found |= transformer(f"decoder.{group}", 1, decoder=True)
        found |= expand("enc_to_dec.{g}.weight D W\nenc_to_dec.{g}.bias D", g=group)
    found |= transformer("encoder_inter", 3)
    if data.head:
        target, outputs = data.head.split()
        last = LINEAR if target == "treesat_mlc_thresh" else CONV
        found |= expand(HEAD + last, t=target, k=outputs)
    return found


def ours(name: str, size: Size | str = "tiny", **options) -> dict[str, torch.Tensor]:
    """Return the parameters of our model and heads by official name; they take no memory."""
    with torch.device("meta"):
        model = Maestro(MaestroConfig(ml.contract_of_entry(name), size, **options))
        state = to_official(model.state_dict(), model.modalities)
        for target, config in ml.heads_of_entry(name).items():
            grid = model.modalities[config.reference].grid if config.reference else 0
            head = Head(config, model.config.size.width, grid)
            state |= head_to_official(head.state_dict(), target, config.task)
    return state


@pytest.mark.parametrize("name", DATA)
def test_names_and_shapes_are_the_published_ones(name):
    expected, found = listing(DATA[name]), ours(name)
    assert len(expected) == DATA[name].keys
    assert {n: tuple(t.shape) for n, t in found.items()} == expected
    assert round(sum(t.numel() for t in found.values()) / 1e6, 2) == DATA[name].millions


@pytest.mark.parametrize("name", DATA)
def test_grids_and_sequences_are_the_published_ones(name):
    data = DATA[name]
    config = MaestroConfig(ml.contract_of_entry(name), "nano")
    with torch.device("meta"):
        model = Maestro(config)
    assert {n: m.grid for n, m in model.modalities.items()} == {
        n: grid for n, (*_, grid) in data.modalities.items()
    }
    assert {s.name: s.length for s in model.streams} == data.groups


@pytest.mark.parametrize(
    ("size", "keys", "millions"),
    [("small", 452, 53.63), ("base", 485, 254.89), ("large", 914, 900.41)],
)
def test_larger_sizes_have_the_published_number_of_parameters(size, keys, millions):
    found = ours("treesatai-ts", size)
    assert len(found) == keys
    assert round(sum(t.numel() for t in found.values()) / 1e6, 2) == millions


@pytest.mark.parametrize("name", DATA)
def test_a_file_of_this_layout_loads_in_full(name, tmp_path):
    expected = listing(DATA[name])
    state = {
        f"model.{n}": torch.full(shape, k, dtype=torch.float16)
        for k, (n, shape) in enumerate(expected.items())
    }
    path = saved({"state_dict": state}, tmp_path / "published.ckpt")
    config = MaestroConfig(ml.contract_of_entry(name), "tiny")
    model, heads, report = ml.load_official(path, config, targets=ml.heads_of_entry(name))
    count = DATA[name].keys
    assert repr(report).startswith(f"{count} of {count} tensors, 100 % of the parameters")
    assert report.share == 1 and not report.missing and not report.unexpected
    loaded = to_official(model.state_dict(), model.modalities)
    for target, head in heads.items():
        loaded |= head_to_official(head.state_dict(), target, head.config.task)
    assert all((loaded[n] == k).all() for k, n in enumerate(expected))


SMALL = Size(16, 2, 1, 16, 32, 24, 1, 1, 16, 32)
QKV = "encoder.s1.layers.0.0.to_qkv.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({QKV: None}, f"missing {QKV}; unexpected none"),
        ({"heads.treesat_mlc_thresh.linear.bias": None}, "missing heads.treesat_mlc_thresh.linear"),
        ({"encoder.s3.norm.bias": (16,)}, "missing none; unexpected encoder.s3.norm.bias"),
        ({"something": (1,)}, "unexpected something"),
        ({"heads.treesat_mlc_thresh.conv.bias": (4,)}, "unexpected heads.treesat_mlc_thresh.conv"),
        ({QKV: (48, 17)}, rf"fit: {QKV}\n  expected: shape \(48, 16\)\n  found:    shape \(48, 17"),
        ({"patch_embed.aerial.patchify_bands.0.conv.weight": (16, 4, 16, 16)}, "4, 20, 20"),
        ({"embed_to_rec.s2.pixelify_bands.0.conv.bias": (30,)}, r"shape \(40,\)"),
        ({"mask_token.s2": (1, 2, 1, 1, 24)}, r"shape \(1, 1, 1, 1, 24\)"),
        ({"heads.treesat_mlc_thresh.linear.weight": (13, 16)}, r"expected: shape \(15, 16\)"),
    ],
)
def test_another_layout_is_refused_and_changes_nothing(change, message, tmp_path):
    shapes = {n: tuple(t.shape) for n, t in ours("treesatai-ts", SMALL, joint_depth=1).items()}
    shapes |= change
    state = {n: torch.zeros(shape) for n, shape in shapes.items() if shape is not None}
    path = saved({"state_dict": state}, tmp_path / "published.ckpt")
    config = MaestroConfig(ml.contract_of_entry("treesatai-ts"), SMALL, joint_depth=1)
    model = Maestro(config)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    with pytest.raises(WeightsError, match=message):
        ml.load_official(path, model, targets=ml.heads_of_entry("treesatai-ts"))
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())


def test_flair2_takes_three_modalities_of_flair_hub():
    hub = ml.contract_of_entry("flair-hub", modalities=["aerial", "dem", "s2"])
    assert ml.contract_of_entry("flair2") == hub
    assert ml.heads_of_entry("flair2") == ml.heads_of_entry("flair-hub")


def test_heads_are_those_of_the_catalogue():
    assert ml.heads_of_entry("pastis-hd") == {
        "pastis_seg": HeadConfig("segmentation", 19, reference="s2", size=16, missing=19)
    }
    multilabel = HeadConfig("multilabel", 15, threshold=0.07)
    assert ml.heads_of_entry("treesatai-ts") == {"treesat_mlc_thresh": multilabel}
    assert ml.heads_of_entry("s2-naip") == {}


def test_a_head_on_a_modality_that_is_left_out(tmp_path):
    config = MaestroConfig(ml.contract_of_entry("flair2", modalities="s2"), SMALL, joint_depth=1)
    path = ml.save_official(Maestro(config), tmp_path / "a.safetensors")
    with pytest.raises(ContractError, match=r"head cosia: its reference .*\n.*s2\n.*aerial"):
        ml.load_official(path, config, targets=ml.heads_of_entry("flair2"))
