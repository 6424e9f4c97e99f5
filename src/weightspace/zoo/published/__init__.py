"""The data sets of networks that papers used, as they were published, with their splits."""

from ._read import PUBLISHED, read_published
from ._wild_park import ParkCNN

__all__ = ["PUBLISHED", "ParkCNN", "read_published"]
