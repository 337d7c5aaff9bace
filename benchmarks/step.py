"""What a pretraining step costs, and what decoding masked tokens only saves.

Both variants run in turns in one process, so that a busy machine slows both; ratios of medians are
printed. The slow variant decodes every token, puts them back in order, and picks the masked ones.

    python benchmarks/step.py [--size tiny] [--threads 2] [--rounds 10]
"""

import argparse
import statistics
import time
import types

import torch

import maestro_lab as ml
from maestro_lab.batches import CubeDataset, loader
from maestro_lab.models.masking import keys_for
from maestro_lab.models.tokens import take


def decode_everything(self, stream, encoded, sequence, visible, masked, *, whole):
    """Decode all tokens in order, then take the masked ones."""
    decoded = type(self).decode(self, stream, encoded, sequence, visible, masked, whole=True)
    return take(decoded, masked)


def step(model, optimiser, batch):
    """Take one training step and return its loss."""
    output = model(batch, keys_for(0, 0, batch.sample))
    output.loss.backward()
    optimiser.step()
    optimiser.zero_grad()
    return output.loss.item()


def seconds(work):
    """Return how long a call took."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main():
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--size", default="nano")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--rounds", type=int, default=8)
    options.add_argument("--batch", type=int, default=16)
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    cube = ml.in_memory(
        ml.open_cube("landscape", samples=4 * given.batch, modalities=["s2", "s1_asc", "s1_des"])
    )
    contract = ml.contract_for(cube)
    model = ml.build_model(ml.MaestroConfig(contract, given.size, joint_depth=3))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    batches = loader(CubeDataset(cube, contract, split=None), given.batch)
    fetch = [seconds(lambda: next(iter(batches))) for _ in range(3)]
    batch = next(iter(batches))
    times = {"masked tokens only": [], "every token": []}
    for turn in range(given.rounds + 1):
        for name, kept in times.items():
            if name == "every token":
                model.decode = types.MethodType(decode_everything, model)
            spent = seconds(lambda: step(model, optimiser, batch))
            model.__dict__.pop("decode", None)
            if turn:  # the first turn warms up
                kept.append(spent)
    fast, slow = (statistics.median(t) for t in times.values())
    print(f"{given.size}, batch {given.batch}, {given.threads} threads, Sentinel-2 and -1")
    print(f"step, masked tokens only   {fast:.3f} s   {given.batch / fast:.0f} samples/s")
    print(f"step, every token decoded  {slow:.3f} s   ratio {slow / fast:.2f}")
    print(f"share of a step that gathering its batch takes  {min(fetch) / (min(fetch) + fast):.1%}")


if __name__ == "__main__":
    main()
