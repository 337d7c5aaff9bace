"""The learning rate is the published one, step by step."""

import pytest
import torch

from maestro_lab.training.schedule import ema_momentum, max_lr, one_cycle

TRACES = {
    "pretrain_b32_50steps": (3e-5, 1e7),
    "probe_b32_50steps": (1e-5, 1e7),
    "finetune_b32_50steps": (1e-5, 2),
}


@pytest.mark.parametrize("name", TRACES)
def test_rates_are_those_of_the_published_code(vectors, name):
    trace, (base, final) = vectors["lr"][name], TRACES[name]
    peak = max_lr(base, 32)
    assert peak == pytest.approx(trace["max_lr"], rel=1e-12)
    rates = [one_cycle(i, 50, peak, final_factor=final) for i in range(50)]
    assert rates == pytest.approx(trace["lrs"][:50], rel=1e-9)


@pytest.mark.parametrize("total", [3, 6, 7, 10, 33, 50, 101])
def test_rates_are_those_of_torch(total):
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.AdamW([parameter], betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 0.3, total, pct_start=0.2, div_factor=1e3, final_div_factor=1e4
    )
    rates = []
    for _ in range(total):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        if len(rates) < total:
            schedule.step()
    ours = [one_cycle(i, total, 0.3) for i in range(total)]
    if total < 5:  # torch begins such a short cycle behind its peak; ours begins at it
        rates, ours = rates[-1:], ours[-1:]
    assert ours == pytest.approx(rates, rel=1e-9)


@pytest.mark.parametrize("total", [1, 2, 3, 4, 5])
def test_the_shortest_cycles_begin_at_the_peak_and_end_low(total):
    rates = [one_cycle(i, total, 1.0) for i in range(total)]
    assert rates[0] == 1.0 and rates == sorted(rates, reverse=True)
    assert total == 1 or rates[-1] == pytest.approx(1e-7)


def test_the_rate_grows_with_the_square_root_of_the_whole_batch():
    assert max_lr(1.0, 3) == 1.0
    assert max_lr(1.0, 12) == max_lr(1.0, 6, accumulate=2) == max_lr(1.0, 3, 2, devices=2) == 2.0


def test_momentum_of_averaged_weights(vectors):
    for epochs, published in vectors["ema_momentum_by_max_epochs"].items():
        assert ema_momentum(int(epochs)) == pytest.approx(max(0.0, published), abs=1e-12)
