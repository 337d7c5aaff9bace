"""Runs as text: results with intervals, differing parameters, narrow enough."""

from pathlib import Path

from maestro_lab.runs.collect import Record
from maestro_lab.runs.table import readable


def run(name, notebook="02_pretrain", parameters=None, **results):
    card = {"notebook": notebook, "seconds": 12.3, "parameters": parameters or {}}
    return Record(Path(name), name, "completed", card, results)


def test_results_stand_in_rows_with_their_intervals():
    shown = readable([run("a", **{"r2": 0.51234, "r2 interval": [0.4, 0.6], "n": 3})], 80)
    assert "r2           0.5123  [0.4, 0.6]" in shown
    assert "interval" not in shown
    assert "n            3" in shown


def test_only_parameters_that_differ_are_shown():
    runs = [run("a", parameters={"lr": 1, "seed": 0}), run("b", parameters={"lr": 2, "seed": 0})]
    shown = readable(runs, 80)
    assert "lr =" in shown
    assert "seed" not in shown


def test_a_result_named_as_a_parameter_does_not_hide_it():
    runs = [run(n, parameters={"groups": k}, groups={"s2": "x | y"}) for k, n in enumerate("ab")]
    shown = readable(runs, 80)
    assert "groups =" in shown
    assert "groups s2    x | y      x | y" in shown


def test_many_runs_are_dealt_out_to_tables_that_fit():
    runs = [run(f"run-{k:02d}", value="x" * 20) for k in range(12)]
    shown = readable(runs, 80)
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert all(f"run-{k:02d}" in shown for k in range(12))


def test_each_notebook_has_its_own_block_and_sentences_go_below():
    verdict = "It is better, beyond the interval, and that is a sentence."
    shown = readable([run("a", "01", verdict=verdict), run("b", "02", loss=1.0)], 80)
    first, second = shown.split("\n\n")
    assert first.endswith(f"verdict: {verdict}")
    assert second.startswith("02")
