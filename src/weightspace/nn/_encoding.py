"""placeholder, being written"""

from torch import nn


class ProbeFeatures(nn.Module):
    out_channels: int = 0
