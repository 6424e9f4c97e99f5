import numpy as np
import pytest
import torch

import weightspace as ws
from weightspace import zoo


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """A zoo of 40 tiny INRs, not fitted, with random blobs as their images."""
    space = ws.siren([2, 6, 6, 1])
    generator = torch.Generator().manual_seed(0)
    images = (torch.rand(40, 9, 9, generator=generator) < 0.2).to(torch.uint8) * 255
    return zoo.write_zoo(
        tmp_path_factory.mktemp("zoo") / "digits",
        space.sample(40, generator),
        images=images.numpy(),
        columns={"label": np.arange(40) % 10},
        splits=(24, 8, 8),
        about={"recipe": {"name": "none", "steps": 1}, "seed": 0, "image_set": "blobs"},
    )
