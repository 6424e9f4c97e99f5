"""Files that are either whole or absent, and their checksums."""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ._errors import WeightspaceError

__all__ = ["atomic_write", "sha256"]


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path``; when the block ends well, it becomes ``path``.

    The block writes the whole file to the path it is given. The data reach the disk before the rename, so that after
    a crash, a kill or a full disk ``path`` holds either its old content or the new one, never a part. Whatever fails,
    the temporary file is removed. What a killed process leaves (``.NAME.part``) is
    overwritten by the next writer; one process at a time may write a given path.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with atomic_write(folder / "note.txt") as temporary:
        ...     _ = temporary.write_text("whole")
        >>> (folder / "note.txt").read_text()
        'whole'

    Raises:
        WeightspaceError: if the disk is full.
        OSError: for every other failure of the file system.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.unlink(missing_ok=True)
        temporary.touch()
        mode = temporary.stat().st_mode  # as the umask has it; some libraries write files that only the owner can read
        yield temporary
        temporary.chmod(mode)
        _flush(temporary)
        temporary.replace(path)
        _flush(path.parent)
    except BaseException as error:
        full = _means_full_disk(error, path.parent)
        temporary.unlink(missing_ok=True)
        if full:
            raise WeightspaceError(
                f"the disk is full: {path} was not written (a former version of it is kept). "
                "Free some space and run the same command again"
            ) from error
        raise


def sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 checksum of a file, as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk."""
    if path.is_dir() and os.name == "nt":  # Windows cannot open a folder
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _means_full_disk(error: BaseException, folder: Path) -> bool:
    """Whether an error says that no space is left; libraries with their own writers raise other types than OSError."""
    codes = (errno.ENOSPC, errno.EDQUOT)
    if isinstance(error, OSError):
        return error.errno in codes
    if not isinstance(error, Exception):
        return False
    return any(os.strerror(code) in str(error) for code in codes) or shutil.disk_usage(folder).free < 2**16
