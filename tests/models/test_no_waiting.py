"""A pretraining step never waits for its device: tensors without values go all the way through."""

import pytest
import torch

from maestro_lab.models.masking import Masking, keys_for
from tests.training.conftest import make_cube, make_data, make_model


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "with gaps"])
@pytest.mark.parametrize("loss", ["l1_norm", "l2"])
@pytest.mark.parametrize("fusion", ["group", "mod", "monotemp", "shared"])
def test_a_step_needs_no_value_of_any_tensor(fusion, loss, whole):
    cube = make_cube(whole=whole)
    model = make_model(cube, fusion=fusion, loss=loss, masking=Masking(bands=0.2)).to("meta")
    batch = make_data(cube).__getitems__([(0, k) for k in range(4)]).to("meta")
    output = model(batch, keys_for(0, 0, batch.sample))
    output.loss.backward()
    assert output.loss.shape == torch.Size([])
    assert model.encoders[model.streams[0].encoder].norm.weight.grad.is_meta


def test_a_value_that_is_asked_for_would_be_noticed():
    with pytest.raises(RuntimeError):
        torch.ones(1, device="meta").item()
