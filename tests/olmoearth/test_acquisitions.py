"""Which acquisition a slot takes, and what is refused before a model sees nothing."""

import pickle

import numpy as np
import pytest
import torch

import maestro_lab as ml
from maestro_lab.cubes.contract import make_modality
from maestro_lab.errors import ContractError, ParameterError, RunError
from maestro_lab.models.masking import keys_for
from maestro_lab.models.olmoearth.losses import all_discrimination
from maestro_lab.models.olmoearth.masking import STRATEGIES, draw_states
from maestro_lab.models.olmoearth.sample import NO_DATA, PREDICTED, VISIBLE
from maestro_lab.olmoearth.reading import OlmoEarthInput
from tests.batches.cubes import cube_of

CONFIG = ml.OlmoEarthConfig.of("v1.2", "nano")
FINE, COARSE = ("B02", "B03", "B04", "B08"), ("B05", "B06", "B07", "B8A", "B11", "B12")
pytestmark = pytest.mark.filterwarnings("ignore:sentinel2_l2a.*made up")


def images(bands, days, level, valid, gsd=10.0, side=4, sensor="sentinel-2", units="DN"):
    values = np.asarray(level, float)[None, :, None, None, None]
    values = np.broadcast_to(values, (1, len(days), len(bands), side, side)).copy()
    time = np.array([days], "datetime64[ns]")
    valid = np.broadcast_to(np.asarray(valid)[None], (1, len(days), side, side))
    return make_modality(
        values, time, valid=valid, bands=bands, units=units, gsd=gsd, sensor_name=sensor
    )


def slot(cube, modality):
    return OlmoEarthInput(cube, CONFIG, start="2021-01-01").values(0)[modality][0]


def test_all_grids_of_a_sensor_take_the_same_acquisition():
    """The second date is clear in the fine grid, the first in the coarse one."""
    clear, cloudy = np.ones((4, 4), bool), np.eye(4, dtype=bool)
    days = ["2021-01-05", "2021-01-20"]
    fine = images(FINE, days, [1000, 2000], [cloudy, clear])
    coarse = images(COARSE, days, [3000, 4000], [clear[:2, :2], cloudy[:2, :2]], 20.0, 2)
    found = slot(cube_of({"fine": fine, "coarse": coarse}), "sentinel2_l2a")
    bands = CONFIG.modalities["sentinel2_l2a"].bands
    both = OlmoEarthInput(cube_of({"fine": fine}), CONFIG, start="2021-01-01")
    np.testing.assert_array_equal(found[:4], both.values(0)["sentinel2_l2a"][0, :4])
    seen = found[bands.index("B05")][found[bands.index("B05")] != NO_DATA]
    level, std = 1890.9893042634167, 1754.7320388511766
    expected = (4000 - level + 2 * std) / (4 * std)
    np.testing.assert_allclose(np.unique(seen.round(5)), [0, round(expected, 5)], atol=1e-5)


def test_a_slot_takes_one_pass_of_a_radar():
    half = np.zeros((4, 4), bool)
    half[:2] = True
    up = images(("VV", "VH"), ["2021-01-05"], [-10], [half], sensor="sentinel-1", units="dB")
    down = images(
        ("VV", "VH"), ["2021-01-07", "2021-02-20"], [-20, -20], [~half, ~half],
        sensor="sentinel-1", units="dB",
    )  # fmt: skip
    data = OlmoEarthInput(cube_of({"up": up, "down": down}), CONFIG, start="2021-01-01")
    found = data.values(0)["sentinel1"]
    assert (found[0, :, 2:] == NO_DATA).all() and (found[0, :, :2] != NO_DATA).all()
    assert (found[1, :, 2:] != NO_DATA).all(), "the other pass, where the first has none"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ds: ds.assign_coords(band=["HH", "HV"]), r"bands of sentinel1\n.*vv vh\n.*HH HV"),
        (lambda ds: ds.assign_attrs(units="DN"), r"units of sentinel1\n.*dB or linear power\n.*DN"),
    ],
)
def test_what_the_model_could_not_see_is_refused(change, message):
    """Cubes refuse it when they are made; this one was changed afterwards."""
    everywhere = [np.ones((4, 4), bool)]
    radar = images(("VV", "VH"), ["2021-01-05"], [-9], everywhere, sensor="sentinel-1", units="dB")
    cube = cube_of({"mine": radar})
    cube["mine"] = type(cube)(change(cube["mine"].to_dataset()))
    with pytest.raises(ContractError, match=message):
        OlmoEarthInput(cube, CONFIG)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_something_is_visible_where_anything_is_there(strategy):
    draw = torch.Generator().manual_seed(0)
    here = {
        "sentinel2_l2a": torch.rand(2000, 1, 4, 4, generator=draw) < 0.1,
        "sentinel1": torch.rand(2000, 1, 4, 4, generator=draw) < 0.1,
    }
    states = draw_states(strategy, keys_for(0, 0, torch.arange(2000)), here)
    there = torch.stack([h.flatten(1).any(1) for h in here.values()]).any(0)
    seen = torch.stack([(s == VISIBLE).flatten(1).any(1) for s in states.values()]).any(0)
    assert torch.equal(seen, there)


def test_tokens_that_do_not_count_change_no_loss():
    draw = torch.Generator().manual_seed(1)
    p, t = ({"a": torch.randn(3, 20, 8, generator=draw)} for _ in range(2))
    counted = {"a": torch.rand(3, 20, generator=draw) < 0.3}
    expected = []
    for k in range(3):
        for i in torch.nonzero(counted["a"][k]).ravel():
            unit = torch.nn.functional.normalize
            score = unit(p["a"][k, i], dim=0) @ unit(t["a"][counted["a"]], dim=1).T / 0.1
            own = unit(p["a"][k, i], dim=0) @ unit(t["a"][k, i], dim=0) / 0.1
            expected.append(0.2 * (score.logsumexp(0) - own) / counted["a"][k].sum() / 3)
    found = all_discrimination(p, t, counted)
    torch.testing.assert_close(found, torch.stack(expected).sum(), rtol=1e-5, atol=1e-6)


def test_a_sample_without_data_is_no_vector():
    cube = ml.open_cube("landscape", samples=6, modalities=["s2"]).load()
    data = ml.dataset_for(CONFIG, cube, split=None)
    for name, values in data.input.values(2).items():
        data.input._kept[name, 2] = np.full_like(values, NO_DATA)
    found = ml.embed(ml.build_model(CONFIG), data).features
    assert np.isnan(found[2]).all() and np.isfinite(np.delete(found, 2, 0)).all()


def test_workers_get_the_samples_they_need_and_no_cache():
    cube = ml.open_cube("landscape", samples=60, modalities=["s2"]).load()
    few, many = (ml.dataset_for(CONFIG, cube, split=None, samples=range(n)) for n in (2, 60))
    assert len(pickle.dumps(few)) < len(pickle.dumps(many)) / 10
    before = len(pickle.dumps(few))
    few.__getitems__([(0, 0), (0, 1)])
    assert few.input._kept and len(pickle.dumps(few)) == before


def test_other_windows_and_names_are_refused_beside_an_encoder():
    cube = ml.open_cube("landscape", samples=12, modalities=["s2"], window=120).load()
    model = ml.build_model(ml.olmoearth_config(cube))
    smaller = ml.build_model(ml.MaestroConfig(ml.contract_for(cube, window=60), "nano"))
    with pytest.raises(ContractError, match="maestro: other windows than the first encoder's"):
        ml.features(model, cube, random_encoders=0, compare={"maestro": smaller})
    with pytest.raises(ParameterError, match="name of a further encoder"):
        ml.features(model, cube, compare={"random weights": model})
    table = ml.features(model, cube, random_encoders=0)
    assert table.tables["seasonal medians"][0].shape[:2] == (len(table.samples), table.grid**2)


def test_settings_of_the_other_system_are_refused():
    ml.refuse_settings("olmoearth", patch={}, window=0.0, resize="")
    with pytest.raises(ParameterError, match="patch, which means nothing to olmoearth"):
        ml.refuse_settings("olmoearth", window=0.0, patch={"s2": 2})


def test_a_tiny_model_of_each_system_is_what_was_asked_for(tmp_path):
    cube = ml.open_cube("landscape", samples=4, modalities=["s2"])
    ml.save_model(ml.build_model(ml.olmoearth_config(cube)), tmp_path)
    (tmp_path / "card.json").write_text("{}")
    with pytest.raises(RunError, match=r"the other system\n.*maestro\n.*olmoearth"):
        ml.pretrained(tmp_path, system="maestro")


def test_predictions_are_asked_for_where_something_else_is_seen():
    here = {"sentinel1": torch.ones(500, 1, 3, 4, dtype=torch.bool)}
    for strategy in STRATEGIES:
        states = draw_states(strategy, keys_for(1, 0, torch.arange(500)), here)["sentinel1"]
        assert (states == PREDICTED).flatten(1).any(1).all(), strategy
