import subprocess
import sys

HEAVY = {"PIL", "accelerate", "cattrs", "hypothesis", "jinja2", "matplotlib", "mlxtend"}
HEAVY |= {"pandas", "pyarrow", "rich", "scipy", "sklearn", "tqdm", "tyro"}


def loaded(statement):
    code = f"import torch, sys; before = set(sys.modules); {statement}; print(*(set(sys.modules) - before))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_importing_the_package_loads_nothing_heavy():
    assert loaded("import weightspace") & HEAVY == set()


def test_importing_the_layers_loads_nothing_heavy():
    layers = "engine, models, nn, orbit, report, space, tasks, testing, theory, zoo"
    assert loaded(f"from weightspace import {layers}") & HEAVY == set()
