"""Trainings that kill themselves, each in a process forked from one that has imported torch.

Run as a program: a line of JSON in (folder, options, deadly), the exit status of that training out.
"""

import io
import json
import os
import signal
import sys
from pathlib import Path

import torch
import torch._dynamo  # every optimiser wants it: here it is imported once for all

from maestro_lab.training import checkpoint
from maestro_lab.training.pretrain import pretrain
from tests.training.conftest import make_cube, make_data, make_model, settings

SAMPLES, EPOCHS = 8, 6  # three batches an epoch; below six epochs nothing is averaged


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def nth(function, when: int, last):
    """Return a function that does what ``function`` does, and ``last`` at its nth call."""
    calls = []

    def counted(*args, **kwargs):
        calls.append(args)
        return (last if len(calls) == when else function)(*args, **kwargs)

    return counted


def save_half(state, file):
    whole = io.BytesIO()
    torch_save(state, whole)
    file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
    file.flush()
    die()


def write_half(metrics, row):
    with metrics.path.open("a") as file:
        file.write('{"step": 1')
    die()


torch_save = torch.save


def train(folder: Path, options: dict, deadly: tuple[str, int]) -> None:
    """Train, and be killed before the nth batch, or within the nth write."""
    torch.set_num_threads(1)
    cube = make_cube(SAMPLES)
    model, data = make_model(cube), make_data(cube)
    where, when = deadly
    if where == "batch":
        data.__getitems__ = nth(data.__getitems__, when, lambda _: die())
    elif where == "checkpoint":
        checkpoint.torch.save = nth(torch_save, when, save_half)
    elif where == "metrics":
        checkpoint.MetricsFile.write = nth(checkpoint.MetricsFile.write, when, write_half)
    config = settings(epochs=EPOCHS, **options)
    val = make_data(cube, "val", train=False)
    fitted = pretrain(model, data, config, val=val, folder=folder)
    averaged = {f"averaged {name}": t for name, t in fitted.ema.items()}
    torch_save(model.state_dict() | averaged, folder / "weights.pt")


def serve() -> None:
    make_data(make_cube(SAMPLES))  # for what that imports
    for line in sys.stdin:
        folder, options, deadly = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            try:
                train(Path(folder), options, deadly)
            except BaseException:
                sys.excepthook(*sys.exc_info())
                os._exit(1)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
