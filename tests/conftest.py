import importlib.util
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for `_spaces`


@pytest.fixture(scope="session")
def folders():
    """The module that writes run folders with invented numbers."""
    spec = importlib.util.spec_from_file_location("report_folders", Path(__file__).with_name("report") / "_folders.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
