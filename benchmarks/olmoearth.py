"""What OlmoEarth costs here, against the published package ``olmoearth-pretrain-minimal``.

    python benchmarks/olmoearth.py [--versions v1 v1.1 v1.2] [--sizes nano tiny] [--threads 1 2]
        [--rounds 7] [--batch 8]

Both have the same weights and get the same values and masks: 16 x 16 pixels, 12 slots, patches of
4. ``forward`` encodes Sentinel-2 and Sentinel-1 without a graph, ``backward`` encodes them with
masks that hide nothing and goes back from the pooled summary, and ``step`` is pretraining: all nine
modalities, two maskings by the strategy of the version, predictions, targets and losses (the
package has no losses; both use ours). Outputs are compared before anything is timed. Both take
turns in one process, so that a busy machine slows both. What is told are medians: of processor time
with one thread, of the time on the wall with several.
The last line is one JSON object: the ratios by name, published over ours (above 1 is faster here),
the ratio required of ``forward`` and ``backward``, and whether all of those that ran reach it.
"""

import argparse
import json
import os
import statistics
import sys
import time
import warnings
from dataclasses import replace

import torch
from einops import rearrange

from maestro_lab.models.masking import keys_for
from maestro_lab.models.olmoearth.config import OlmoEarthConfig
from maestro_lab.models.olmoearth.losses import instance_contrast, modality_discrimination
from maestro_lab.models.olmoearth.model import OlmoEarth
from maestro_lab.models.olmoearth.official import from_official, sample_from_official

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from olmoearth_pretrain_minimal import OlmoEarthPretrain_v1
    from olmoearth_pretrain_minimal.olmoearth_pretrain_v1.utils.datatypes import (
        MaskedOlmoEarthSample,
    )

SIDE, SLOTS, PATCH = 16, 12, 4
SENSORS = ("sentinel2_l2a", "sentinel1")
REQUIRED = 1.5


def make_values(config, names, batch):
    """Return random values and dates as published, with masks that hide nothing."""
    draw = torch.Generator().manual_seed(0)
    month = torch.arange(SLOTS).expand(batch, -1) % 12
    day, year = (torch.randint(low, high, (batch, 1), generator=draw).expand(-1, SLOTS)
                 for low, high in ((1, 28), (2016, 2025)))  # fmt: skip
    found = {"timestamps": torch.stack([day, month, year], -1)}
    for name in names:
        m = config.modalities[name]
        shape = (batch, SIDE, SIDE, SLOTS if m.dated else 1)
        found[name] = torch.rand(*shape, len(m.bands), generator=draw)
        found[f"{name}_mask"] = torch.zeros(*shape, len(m.groups))
    return found


def to_pixels(state):
    """Turn states of tokens (b, g, d, l) into a published mask (b, h, w, d, g)."""
    mask = rearrange(state, "b g d (i j) -> b i j d g", i=SIDE // PATCH)
    return mask.repeat_interleave(PATCH, 1).repeat_interleave(PATCH, 2).float()


class Contest:
    """Both models with one batch."""

    def __init__(self, version, size, batch):
        torch.manual_seed(0)
        self.config = replace(OlmoEarthConfig.of(version, size), band_dropout=0.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.theirs = OlmoEarthPretrain_v1(model_size=size, model_version=version).model
        self.ours = OlmoEarth(self.config)
        state = self.ours.state_dict()
        self.ours.load_state_dict(from_official(self.theirs.state_dict(), state))
        self.few = make_values(self.config, SENSORS, batch)
        self.sample, self.states = sample_from_official(self.few, self.config, PATCH)
        every = make_values(self.config, self.config.modalities, batch)
        self.whole, _ = sample_from_official(every, self.config, PATCH)
        keys = keys_for(0, 0, torch.arange(batch))
        self.views = self.ours.draw_states(self.whole, keys)
        self.masked = [
            MaskedOlmoEarthSample(
                **{k: t for k, t in every.items() if not k.endswith("_mask")},
                **{f"{n}_mask": to_pixels(s) for n, s in view.items()},
            )
            for view in self.views
        ]
        self.unmasked = MaskedOlmoEarthSample(**every)
        self.visible = MaskedOlmoEarthSample(**self.few)

    def forward(self, who):
        """Encode without a graph: tokens of Sentinel-2."""
        with torch.no_grad():
            if who == "ours":
                return self.ours.encode(self.sample).by_modality()["sentinel2_l2a"]
            found = self.theirs.encoder(self.visible, patch_size=PATCH, fast_pass=True)
            tokens = found["tokens_and_masks"].sentinel2_l2a
            return rearrange(tokens, "b i j d g w -> b g d (i j) w")

    def backward(self, who):
        """Encode with masks and go back from the summary."""
        if who == "ours":
            summary = self.ours.encoder.summarise(self.ours.encode(self.sample, self.states))
        else:
            summary = self.theirs.encoder(self.visible, patch_size=PATCH)["project_aggregated"]
        summary.square().sum().backward()
        return summary

    def step(self, who):
        """Compute the loss of pretraining and its gradients."""
        loss = self.ours(self.whole, states=self.views).loss if who == "ours" else self.their_loss()
        loss.backward()
        return loss

    def their_loss(self):
        """Return the same loss of the published package."""
        exits = dict.fromkeys(self.config.modalities, 0)
        with torch.no_grad():
            target = self.theirs.target_encoder(
                self.unmasked, patch_size=PATCH, token_exit_cfg=exits
            )["tokens_and_masks"]
        losses, summaries = [], []
        for masked, states in zip(self.masked, self.views, strict=True):
            _, predicted, summary, *_ = self.theirs(masked, PATCH)
            parts = [
                {n: rearrange(getattr(p, n), "b i j d g w -> b (g d i j) w") for n in states}
                for p in (predicted, target)
            ]
            counted = {n: state.flatten(1) == 2 for n, state in states.items()}
            found = modality_discrimination(*parts, counted, self.config.spare_alike)
            losses.append(torch.stack(list(found.values())).sum())
            summaries.append(summary)
        contrast = self.config.contrastive * instance_contrast(*summaries)
        return (losses[0] + losses[1]) / 2 + contrast

    def check(self):
        """Compare outputs, without chance."""
        self.mode(training=False)
        away = (self.forward("ours") - self.forward("theirs")).abs().max()
        assert away < 1e-4, f"tokens differ by {away:g}"
        self.mode(training=True, chance=False)  # they mask padding in training only
        ours, theirs = (self.step(who).item() for who in ("ours", "theirs"))
        assert abs(ours - theirs) < 1e-4, f"losses differ: {ours} here, {theirs} published"

    def mode(self, *, training, chance=True):
        """Train or not, with or without skipped blocks."""
        for model in (self.ours, self.theirs):
            model.train(training)
            model.zero_grad(set_to_none=True)
            for module in model.modules() if not chance else ():
                if type(module).__name__ == "DropPath":
                    module.eval()
                if hasattr(module, "drop_path") and isinstance(module.drop_path, float):
                    module.drop_path = 0.0
        if training:
            self.theirs.target_encoder.eval()


def race(contest, what, rounds):
    """Take turns, and return medians in milliseconds: theirs, ours."""
    times = {"theirs": [], "ours": []}
    for turn in range(rounds + 1):
        for who, taken in times.items():
            start = time.perf_counter(), time.process_time()
            getattr(contest, what)(who)
            spent = time.perf_counter() - start[0], time.process_time() - start[1]
            if turn:  # the first warms up
                taken.append(spent[torch.get_num_threads() == 1])
    return [1e3 * statistics.median(times[who]) for who in ("theirs", "ours")]


def main():
    """Run all contests."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--versions", nargs="+", default=["v1", "v1.1", "v1.2"])
    parser.add_argument("--sizes", nargs="+", default=["nano", "tiny"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=8)
    chosen = parser.parse_args()
    ratios = {}
    for size in chosen.sizes:
        for version in chosen.versions:
            for threads in chosen.threads:
                torch.set_num_threads(threads)
                contest = Contest(version, size, chosen.batch)
                contest.check()
                contest.mode(training=False)
                for what in ("forward", "backward", "step"):
                    if what == "backward":
                        contest = Contest(version, size, chosen.batch)
                        contest.mode(training=True)
                    theirs, ours = race(contest, what, chosen.rounds)
                    name = f"{size} {version} {what} {threads}t"
                    ratios[name] = round(theirs / ours, 2)
                    print(
                        f"{name:24s} {theirs:6.0f} ms published {ours:6.0f} ms here"
                        f" {theirs / ours:6.2f} times as fast",
                        flush=True,
                    )
    met = all(r >= REQUIRED for name, r in ratios.items() if " step " not in name)
    print(json.dumps({"ratios": ratios, "required": REQUIRED, "met": met}))


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # what the package returns depends on it
        os.execve(
            sys.executable, [sys.executable, *sys.argv], {**os.environ, "PYTHONHASHSEED": "0"}
        )
    main()
