"""Plain values, as TOML and JSON give them, as dataclasses."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from .._errors import RecipeError, WeightspaceError
from ._classification import InrClassificationSettings
from ._editing import EditingSettings
from ._generalization import CnnGeneralizationSettings, TransformerGeneralizationSettings
from ._task import TaskSettings

__all__ = ["KINDS", "structure"]

T = TypeVar("T")

KINDS: dict[str, type[TaskSettings]] = {
    settings.kind: settings
    for settings in (
        EditingSettings,
        CnnGeneralizationSettings,
        TransformerGeneralizationSettings,
        InrClassificationSettings,
    )
}
"""The settings of each kind of task, by the key ``kind`` of a recipe's [task] section."""


def structure(content: Mapping[str, Any], kind: type[T], where: str) -> T:
    """Plain values as a dataclass; unknown, missing and mistyped keys are listed in one `RecipeError`."""
    import cattrs

    converter = cattrs.Converter()
    converter.register_structure_hook_factory(dataclasses.is_dataclass, lambda kind: _section(converter, kind))
    for scalar in (bool, int, float, str):
        converter.register_structure_hook(scalar, _strictly)
    converter.register_structure_hook_func(_is_choice, _one_of)
    converter.register_structure_hook_func(lambda kind: kind is TaskSettings, _task_settings(converter))
    try:
        return converter.structure(content, kind)
    except cattrs.BaseValidationError as error:
        problems = cattrs.transform_error(error, path="recipe", format_exception=_in_words)
        raise RecipeError(f"{where}: " + "; ".join(problems)) from error
    except WeightspaceError as error:
        raise RecipeError(f"{where}: {error}") from error


def _section(converter: Any, kind: Any) -> Any:
    """A section as a dataclass."""
    from cattrs.gen import make_dict_structure_fn

    read = make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=True)

    def of(value: Any, kind: Any) -> Any:
        if not isinstance(value, Mapping):
            raise RecipeError(f"expected a section with keys, found {value!r}")
        for name, wanted in get_type_hints(kind).items():
            if name in value:
                _check_list(name, value[name], wanted)
        return read(value, kind)

    return of


def _check_list(name: str, value: Any, wanted: Any) -> None:
    """Refuses what is no list, or one of another length, where there should be one."""
    for choice in get_args(wanted) if isinstance(wanted, UnionType) else (wanted,):
        if get_origin(choice) is tuple:
            entries = get_args(choice)
            size = "a list" if Ellipsis in entries else f"a list of {len(entries)}"
            if not isinstance(value, list | tuple) or (Ellipsis not in entries and len(value) != len(entries)):
                raise RecipeError(f"{name}: expected {size}, found {value!r}")


def _task_settings(converter: Any) -> Any:
    """The settings of the kind that a section names."""

    def by_kind(value: Any, _: type) -> Any:
        if not isinstance(value, Mapping):
            raise RecipeError(f"expected a section with keys, found {value!r}")
        settings = dict(value)
        kind = settings.pop("kind", EditingSettings.kind)
        if kind not in KINDS:
            raise RecipeError(f"unknown kind of task {kind!r}; known: {', '.join(KINDS)}")
        return converter.structure(settings, KINDS[kind])

    return by_kind


def _strictly(value: Any, kind: type) -> Any:
    """Scalars as they stand: no rounding to int, no numbers made of strings."""
    if type(value) is kind:
        return value
    if kind is float and type(value) is int:
        return float(value)
    raise RecipeError(f"expected {kind.__name__}, found {value!r}")


def _is_choice(kind: Any) -> bool:
    origin: Any = get_origin(kind)
    return origin is Literal


def _one_of(value: Any, kind: Any) -> Any:
    """A choice out of a few."""
    if value not in get_args(kind):
        raise RecipeError(f"expected one of {', '.join(map(repr, get_args(kind)))}, found {value!r}")
    return value


def _in_words(error: BaseException, kind: type | None) -> str:
    """Our own errors speak for themselves; the others in the words of cattrs."""
    from cattrs.v import format_exception

    return str(error) if isinstance(error, WeightspaceError) else format_exception(error, kind)
