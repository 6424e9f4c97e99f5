"""The data sets of networks that papers used, as they were published, with their splits."""

from ._read import PUBLISHED, read_published

__all__ = ["PUBLISHED", "read_published"]
