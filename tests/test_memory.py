"""A cube far larger than memory passes, within a bound."""

import re
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY


@pytest.mark.slow
def test_twenty_gigabytes_pass_within_two():
    command = [sys.executable, REPOSITORY / "benchmarks" / "band_statistics.py", "--whole"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    size, peak = re.search(r"([\d.]+) GB made .* peak memory ([\d.]+) GB", done.stdout).groups()
    assert float(size) > 19.9
    assert float(peak) < 2
