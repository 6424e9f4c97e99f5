"""A zoo on disk: stacked weights in safetensors shards, Parquet metadata, and a JSON manifest with checksums."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .._errors import ZooError
from .._files import atomic_write, sha256
from ..space import WeightFeatures, WeightSpace, from_description

__all__ = ["RESERVED", "ZooFolder"]

FORMAT = 1
RESERVED = ("format", "version", "networks", "space", "shards", "metadata")
_MANIFEST, _METADATA = "manifest.json", "metadata.parquet"


class ZooFolder:
    """The files of one zoo. The manifest lists what is finished; a file that it does not list does not count.

    Attributes:
        path: the folder.
        manifest: content of ``manifest.json``.
    """

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path, self.manifest = path, manifest

    @classmethod
    def create(cls, path: Path, space: WeightSpace, networks: int, **about: Any) -> "ZooFolder":
        """A folder without networks as yet. ``about`` goes into the manifest.

        Raises:
            ZooError: if the folder holds other files.
        """
        head = {"format": "weightspace-zoo", "version": FORMAT, "networks": networks, "space": space.describe()}
        folder = cls(path, json.loads(json.dumps({**head, **about, "shards": [], "metadata": None})))
        path.mkdir(parents=True, exist_ok=True)
        others = [entry.name for entry in path.iterdir() if not entry.name.endswith(".part")]
        if others:
            raise ZooError(f"{path} is not empty and not a zoo (it holds {sorted(others)[0]}); choose another folder")
        folder._write_manifest()
        return folder

    @classmethod
    def open(cls, path: Path) -> "ZooFolder":
        """An existing folder.

        Raises:
            ZooError: if there is no readable manifest, or one of another format.
        """
        file = path / _MANIFEST
        if not file.is_file():
            raise ZooError(f"{path} is not a zoo: there is no {_MANIFEST} in it")
        try:
            manifest = json.loads(file.read_text(encoding="utf-8"))
            known = manifest["format"], manifest["version"]
        except KeyError as error:
            raise ZooError(f"{file} is damaged: it lacks the key {error}") from error
        except (UnicodeDecodeError, json.JSONDecodeError, TypeError) as error:
            raise ZooError(f"{file} is damaged: {error}") from error
        if known != ("weightspace-zoo", FORMAT):
            raise ZooError(
                f"{file}: expected format weightspace-zoo version {FORMAT}, found {known[0]} version {known[1]}"
            )
        _check_keys(file, manifest)
        return cls(path, manifest)

    @classmethod
    def begin(cls, path: Path, space: WeightSpace, networks: int, about: Mapping[str, Any]) -> "ZooFolder":
        """A new folder, or the existing one that the same call began, whose shards are checked.

        Raises:
            ZooError: if the folder holds another zoo, tells in what it differs; or a shard is damaged.
        """
        if not (path / _MANIFEST).is_file():
            return cls.create(path, space, networks, **about)
        folder = cls.open(path)
        asked = json.loads(json.dumps({"networks": networks, "space": space.describe(), **about}))
        differing = [key for key in asked if folder.manifest.get(key) != asked[key]]
        if differing:
            shown = {"content": "images, labels or splits"}
            names = {"networks": "stored networks", "seed": "seed", "recipe": "recipe"}
            shown |= {key: f"{name} ({folder.manifest.get(key)!r}, now {asked[key]!r})" for key, name in names.items()}
            raise ZooError(
                f"{path} holds another zoo: it differs in {', '.join(shown.get(key, key) for key in differing)}; "
                "choose another folder"
            )
        for number in range(len(folder.manifest["shards"])):
            folder.check_shard(number, checksum=True)
        return folder

    @property
    def space(self) -> WeightSpace:
        """The weight space of the networks."""
        return from_description(self.manifest["space"])

    @property
    def written(self) -> int:
        """The number of networks in finished shards, those that were set aside among them."""
        shards = self.manifest["shards"]
        if not shards:
            shards = [json.loads(note.read_text(encoding="utf-8")) for note in sorted(self.path.glob("shard-*.json"))]
        return sum(shard["networks"] for shard in shards)

    def append(self, theta: WeightFeatures, extra: Mapping[str, Tensor]) -> None:
        """Writes the next shard, then the manifest that lists it."""
        self.manifest["shards"].append(self._write_shard(len(self.manifest["shards"]), theta, extra))
        self._write_manifest()

    def set_aside(self, number: int, theta: WeightFeatures, extra: Mapping[str, Tensor]) -> None:
        """Writes shard ``number`` and a note of it, for `gather`. Several processes may do so, each with its shards."""
        entry = self._write_shard(number, theta, extra)
        with atomic_write(self._note(number)) as temporary:
            temporary.write_text(json.dumps(entry) + "\n", encoding="utf-8")

    def has(self, number: int) -> bool:
        """Whether shard ``number`` was set aside, or the zoo is complete."""
        return self._note(number).is_file() or ZooFolder.open(self.path).manifest["metadata"] is not None

    def gather(self, shards: int) -> None:
        """Takes up the first ``shards`` shards, all of which were set aside; `finish` lists them in the manifest.

        Raises:
            ZooError: names a shard that is damaged.
        """
        self.manifest["shards"] = [
            json.loads(self._note(number).read_text(encoding="utf-8")) for number in range(shards)
        ]
        for number in range(shards):
            self.check_shard(number, checksum=True)

    def finish(self, metadata: Mapping[str, Any]) -> None:
        """Writes the metadata, one row for each network, then the manifest that declares the zoo complete."""
        import pyarrow
        import pyarrow.parquet

        table = pyarrow.table(dict(metadata))
        self.manifest["metadata"] = self._write(_METADATA, lambda file: pyarrow.parquet.write_table(table, file))
        self._write_manifest()
        for number in range(len(self.manifest["shards"])):
            self._note(number).unlink(missing_ok=True)

    def metadata(self) -> dict[str, np.ndarray]:
        """The columns of the metadata, one entry for each network of the whole zoo."""
        import pyarrow.parquet

        self._check_file(self.manifest["metadata"], checksum=True)
        table = pyarrow.parquet.read_table(self.path / _METADATA)
        columns = {name: table[name].to_numpy() for name in table.column_names}
        return {name: column.astype(str) if column.dtype == object else column for name, column in columns.items()}

    def check_shard(self, number: int, *, checksum: bool) -> None:
        """Compares a shard with the manifest: its size, and its checksum if asked for.

        Raises:
            ZooError: names the shard, what was expected and what was found.
        """
        self._check_file(self.manifest["shards"][number], checksum=checksum)

    def shard(self, number: int, only: tuple[str, ...] | None = None) -> dict[str, Tensor]:
        """The tensors of a shard, mapped into memory: they are read when they are used.

        Args:
            number: of the shard.
            only: names of the tensors wanted; those that the shard lacks are left out. All by default.
        """
        file = self.path / self.manifest["shards"][number]["file"]
        try:
            with safe_open(file, framework="pt") as content:
                return {name: content.get_tensor(name) for name in content.keys() if only is None or name in only}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise ZooError(f"{file} cannot be read: {error}") from error

    def _write(self, name: str, write: Callable[[Path], object]) -> dict[str, Any]:
        with atomic_write(self.path / name) as temporary:
            write(temporary)
            return {"file": name, "bytes": temporary.stat().st_size, "sha256": sha256(temporary)}

    def _write_shard(self, number: int, theta: WeightFeatures, extra: Mapping[str, Tensor]) -> dict[str, Any]:
        tensors = {name: tensor[..., 0].contiguous() for name, tensor in theta.items()}
        entry = self._write(f"shard-{number:05d}.safetensors", lambda file: save_file({**tensors, **extra}, file))
        return {**entry, "networks": len(theta)}

    def _note(self, number: int) -> Path:
        return self.path / f"shard-{number:05d}.json"

    def _write_manifest(self) -> None:
        with atomic_write(self.path / _MANIFEST) as temporary:
            temporary.write_text(json.dumps(self.manifest, indent=1) + "\n", encoding="utf-8")

    def _check_file(self, entry: Mapping[str, Any], *, checksum: bool) -> None:
        file = self.path / entry["file"]
        if not file.is_file():
            raise ZooError(f"{file} is missing")
        found = file.stat().st_size
        if not checksum and found == entry["bytes"]:
            return
        digest = sha256(file)
        if digest != entry["sha256"]:
            what = "truncated" if found < entry["bytes"] else "altered"
            raise ZooError(
                f"{file} is {what}: expected {entry['bytes']} bytes with SHA-256 {entry['sha256']}, "
                f"found {found} bytes with {digest}"
            )


def _check_keys(file: Path, manifest: Mapping[str, Any]) -> None:
    """ZooError names the first key that a manifest, or an entry of it, lacks."""
    entry = ("file", "bytes", "sha256")
    needed: list[tuple[str, Mapping[str, Any], tuple[str, ...]]] = [("", manifest, RESERVED)]
    needed += [(f"shards[{i}].", shard, (*entry, "networks")) for i, shard in enumerate(manifest.get("shards", ()))]
    if manifest.get("metadata") is not None:
        needed.append(("metadata.", manifest["metadata"], entry))
    for place, found, keys in needed:
        for key in keys:
            if key not in found:
                raise ZooError(f"{file} is damaged: it lacks the key '{place}{key}'")
