import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs_and_is_short(example, tmp_path):
    assert len(example.read_text().splitlines()) <= 80
    done = subprocess.run(
        [sys.executable, "-W", "error", example],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_examples_of_the_readme_run():
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    first, second, third = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)
    names = {}
    exec(first, names)
    assert isinstance(names["module"], torch.nn.Module)
    assert float((names["space"].realize(names["moved"], names["x"]) - names["y"]).abs().max()) < 1e-4
    exec(second, names)
    assert names["predictor"](names["middle"]).shape == (2, 1)
    x = torch.randn(3, 1, 16, 16)
    difference = names["space"].realize(names["moved"], x) - names["space"].realize(names["theta"], x)
    assert float(difference.abs().max()) < 1e-4
    assert names["mixed"].shape == (8, 1)
    exec(third, names)
    assert names["verdict"].universal
    assert all(m.holds for m in names["verdict"].verify())
    theta = names["graph"].space.sample(2).to(torch.float64)
    assert names["graph"](theta).space == theta.space
