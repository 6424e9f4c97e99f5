"""The statements, a file for each; importing one makes it known to `weightspace.theory.statements`."""

from . import (
    _attention,
    _bases,
    _canonical_forms,
    _canonisation,
    _capacity,
    _equivalence,
    _equivariant_operators,
    _forward_pass,
    _general_position,
    _map,
    _partition,
    _quasi_equivariance,
    _symmetries,
    _wl,
)

__all__ = ["ORDER"]

ORDER = tuple(
    module.NAME
    for module in (
        _bases,
        _symmetries,
        _general_position,
        _canonical_forms,
        _wl,
        _attention,
        _equivalence,
        _forward_pass,
        _canonisation,
        _capacity,
        _partition,
        _equivariant_operators,
        _quasi_equivariance,
        _map,
    )
)
"""The names of all statements, in the order in which they build on each other."""
