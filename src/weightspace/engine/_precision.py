"""Mixed precision for models whose outputs are trees of tensors."""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

__all__ = ["MixedPrecision"]

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class MixedPrecision(nn.Module):
    """Runs a model under autocast and returns its outputs in float32.

    What follows the model, such as rendering an implicit representation whose sine has a frequency of 30, needs all
    the bits and stays out of autocast. (`accelerate` would do the same for outputs that are plain dictionaries; weight
    features are mappings of another type.)
    """

    def __init__(self, model: nn.Module, device_type: str, precision: Literal["bf16", "fp16"]) -> None:
        super().__init__()
        self.model = model
        self.device_type = device_type
        self.dtype = _DTYPES[precision]

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """The outputs of the model, half precision turned into float32."""
        with torch.autocast(self.device_type, self.dtype):
            outputs = self.model(*inputs, **options)
        return tree_map_only(Tensor, _to_float32, outputs)


def _to_float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in _DTYPES.values() else tensor
