"""placeholder, being written"""

from torch import nn


class GradientFeatures(nn.Module):
    out_channels: int = 0
