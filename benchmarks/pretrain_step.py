"""What a pretraining step costs, against the same arithmetic written down plainly.

    python benchmarks/pretrain_step.py [--sizes tiny small base] [--batches 4 8 16 32]
        [--precisions fp32 bf16] [--threads 2] [--rounds 12] [--compiled] [--checkpointing]

The reference (``plain.py``) has the same weights and gets the same batch and the same masks, which
ours draws itself. Both take steps in turns in one process, so that a busy machine slows both; what
is told are medians. Losses are compared before anything is timed. Peak memory is that of a process
of its own. Utilisation is the arithmetic that a step needs, by torch's counter, over time and over
the rate of a large matrix product measured in the same run. Inputs have the shapes of TreeSatAI-TS.
The last line is one JSON object of the ratios.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from contextlib import nullcontext

import torch
from peak import own_peak
from plain import PlainMaestro
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import maestro_lab as ml
from maestro_lab.batches import Batch, Series
from maestro_lab.models.kernels import bf16_is_fast, product
from maestro_lab.models.masking import keys_for
from maestro_lab.models.official import to_official
from maestro_lab.models.transformer import tuned_blocks

SIZES, BATCHES, PRECISIONS = ("tiny", "small"), (8,), ("fp32", "bf16")


def make_batch(contract, samples, device):
    """Return random values on random dates of one year."""
    draw = torch.Generator().manual_seed(0)
    series = {}
    for name, m in contract.modalities.items():
        day = torch.randint(1, 366, (samples, m.dates), generator=draw).sort(1).values
        dates = torch.stack([torch.full_like(day, 2019), day, torch.zeros_like(day)], -1)
        shape = (samples, m.dates, len(m.bands), m.pixels, m.pixels)
        series[name] = Series(torch.rand(shape, generator=draw), dates)
    ref_date = torch.tensor([[2019, 182, 0]] * samples)
    return Batch(series, ref_date, torch.arange(samples)).to(device)


class Contest:
    """Both models with one batch, ready to take steps."""

    def __init__(self, size, samples, precision, device, **switches):
        self.device, self.precision = torch.device(device), precision
        config = ml.MaestroConfig(ml.contract_of_entry("treesatai-ts"), size=size, joint_depth=3)
        self.batch = make_batch(config.contract, samples, device)
        self.keys = keys_for(0, 0, self.batch.sample)
        self.switches = switches
        self.ours = ml.build_model(config, 0).to(device)
        with torch.no_grad():
            self.masks = self.ours.draw_masks(self.keys)
        settings = {"lr": 1e-5, "betas": (0.9, 0.99), "weight_decay": 0.01}
        self.optimisers = {
            "ours": torch.optim.AdamW(self.ours.parameters(), fused=True, **settings)
        }
        self.settings = settings

    def add_reference(self):
        """Build the reference with the weights of ours."""
        self.plain = PlainMaestro(self.ours.config)
        weights = to_official(self.ours.state_dict(), self.ours.modalities)
        self.plain.load_state_dict({name: t.clone() for name, t in weights.items()})
        self.plain.to(self.device)
        self.optimisers["plain"] = torch.optim.AdamW(
            self.plain.parameters(), fused=False, **self.settings
        )

    def loss(self, who):
        """Return the loss of one model."""
        half = self.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            if who == "ours":
                return self.ours(self.batch, self.keys).loss
            return self.plain(self.batch, self.masks)

    def step(self, who):
        """Take one training step."""
        self.loss(who).backward()
        self.optimisers[who].step()
        self.optimisers[who].zero_grad()

    def seconds(self, who):
        """Return how long one step took."""
        self.wait()
        started = time.perf_counter()
        tuned = who == "ours" and any(self.switches.values())
        with tuned_blocks(self.ours, **self.switches) if tuned else nullcontext():
            self.step(who)
        self.wait()
        return time.perf_counter() - started

    def wait(self):
        """Wait for a GPU."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def agree(self):
        """Return the relative difference of the two losses; raise if it is not rounding."""
        with torch.no_grad():
            ours, plain = float(self.loss("ours")), float(self.loss("plain"))
        difference = abs(ours - plain) / plain
        if difference > (1e-5 if self.precision == "fp32" else 1e-2):
            raise SystemExit(f"losses differ: {ours} and {plain}")
        return difference

    def flops(self):
        """Count the arithmetic of our step, forward and backward."""
        counter = FlopCounterMode(display=False)
        torch.backends.mkldnn.enabled = False  # the counter does not know its products
        try:
            with counter, sdpa_kernel(SDPBackend.MATH):
                self.ours(self.batch, self.keys).loss.backward()
        finally:
            torch.backends.mkldnn.enabled = True
        self.ours.zero_grad()
        return counter.get_total_flops()

    def profile(self):
        """Return the operations that take most of our step: name and share."""
        with torch.profiler.profile(acc_events=True) as found:
            self.step("ours")
        kind = "self_device_time_total" if self.device.type == "cuda" else "self_cpu_time_total"
        spent = {e.key: getattr(e, kind) for e in found.key_averages()}
        total = max(sum(spent.values()), 1)
        return [(n, spent[n] / total) for n in sorted(spent, key=lambda n: -spent[n])[:9]]


def gemm_rate(device, half):
    """Return floating-point operations a second of a large product, in the quickest library."""
    n = 1536 if device == "cpu" else 8192
    kind = torch.bfloat16 if half else torch.float32
    a, b = (torch.randn(n, n, device=device, dtype=kind) for _ in range(2))
    best = float("inf")
    for multiply in [torch.mm, product] * 6:
        started = time.perf_counter()
        multiply(a, b)
        if device != "cpu":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return 2 * n**3 / best


def peak(who, size, samples, precision, given):
    """Return the peak memory of two steps, in bytes."""
    if given.device != "cpu":
        contest = Contest(size, samples, precision, given.device, **switches_of(given))
        if who == "plain":
            contest.add_reference()
            del contest.ours, contest.optimisers["ours"]
        torch.cuda.reset_peak_memory_stats()
        for _ in range(2):
            contest.step(who)
        return torch.cuda.max_memory_allocated()
    command = [sys.executable, __file__, "--peak-of", who, "--sizes", size, "--batches"]
    command += [str(samples), "--precisions", precision, "--threads", str(given.threads)]
    command += ["--checkpointing"] if given.checkpointing else []
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure_peak(given):
    """Print the peak memory of this process after two steps of one model."""
    contest = Contest(
        given.sizes[0], given.batches[0], given.precisions[0], "cpu", **switches_of(given)
    )
    if given.peak_of == "plain":
        contest.add_reference()
        del contest.ours, contest.optimisers["ours"]
    for _ in range(2):  # the optimiser's state is there from the second step on
        contest.seconds(given.peak_of)
    print(own_peak())


def switches_of(given):
    """Return the switches of our model."""
    return {"compiled": given.compiled, "checkpointing": given.checkpointing}


def imitated(device, precision):
    """Tell whether bfloat16 is imitated here."""
    return precision == "bf16" and not bf16_is_fast(torch.device(device))


def run(size, samples, precision, given):
    """Measure one case, print it, and return its ratios."""
    contest = Contest(size, samples, precision, given.device, **switches_of(given))
    contest.add_reference()
    difference = contest.agree()
    flops = Contest(size, samples, "fp32", given.device).flops()
    rounds = 2 if imitated(given.device, precision) else given.rounds
    times = {"ours": [], "plain": []}
    for turn in range(rounds + 1):
        for who, kept in times.items():
            spent = contest.seconds(who)
            if turn:  # the first turn warms up
                kept.append(spent)
    ours, plain = (statistics.median(times[who]) for who in ("ours", "plain"))
    half = precision == "bf16" and not imitated(given.device, precision)
    ceiling = gemm_rate(given.device, half)
    memory = {who: peak(who, size, samples, precision, given) for who in times}
    told = " (imitated by the processor)" if imitated(given.device, precision) else ""
    print(f"\n{size}, batch {samples}, {precision}{told}; losses differ by {difference:.0e}")
    print(f"  step      ours {ours:.3f} s   plain {plain:.3f} s   {plain / ours:.2f} times as fast")
    print(
        f"  memory    ours {memory['ours'] / 2**20:.0f} MiB   "
        f"plain {memory['plain'] / 2**20:.0f} MiB at the peak"
    )
    print(
        f"  GEMM      {flops / 1e9:.0f} GFLOP a step; utilisation {flops / ours / ceiling:.0%} of "
        f"{ceiling / 1e9:.0f} GFLOP/s, plain {flops / plain / ceiling:.0%} of the same work"
    )
    shares = ", ".join(f"{name.removeprefix('aten::')} {s:.0%}" for name, s in contest.profile())
    print(f"  our step  {shares}", flush=True)
    return {
        "step": round(plain / ours, 3),
        "peak_memory": round(memory["plain"] / memory["ours"], 3),
        "utilisation": round(flops / ours / ceiling, 3),
    }


def main():
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--sizes", nargs="+", default=SIZES)
    options.add_argument("--batches", nargs="+", type=int, default=BATCHES)
    options.add_argument("--precisions", nargs="+", default=PRECISIONS, choices=PRECISIONS)
    options.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--rounds", type=int, default=12)
    options.add_argument("--compiled", action="store_true")
    options.add_argument("--checkpointing", action="store_true")
    options.add_argument("--peak-of", help=argparse.SUPPRESS)
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    torch.set_float32_matmul_precision("highest")
    if given.peak_of:
        measure_peak(given)
        return
    print(f"torch {torch.__version__}, {given.device}, {given.threads} threads")
    ratios = {
        f"{size} b{samples} {precision}": run(size, samples, precision, given)
        for size in given.sizes
        for samples in given.batches
        for precision in given.precisions
    }
    print(json.dumps(ratios))


if __name__ == "__main__":
    main()
