"""Where a dataset lies: a local folder or an S3 bucket, shared by many workers.

Two promises carry everything above: a file appears whole or not at all, and of many that create the same
file exactly one succeeds. Names are relative, with forward slashes, and never leave the store.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import tempfile
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final

import pyarrow as pa
from pyarrow.fs import FSSpecHandler, PyFileSystem

from extraction.records import SourceError

_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")


class Store(ABC):
    """Files by name."""

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """The content of a file; None where there is none."""

    @abstractmethod
    def read_all(self, folder: str) -> dict[str, bytes]:
        """Contents of the files in a folder, by their names in it."""

    def names(self, folder: str) -> list[str]:
        """Names of the files in a folder, sorted; none where there is no folder."""
        return sorted(self.sizes(folder))

    @abstractmethod
    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of the files in a folder, by their names in it; none where there is no folder."""

    @abstractmethod
    def open(self, name: str) -> pa.NativeFile:
        """A file for reading here and there; FileNotFoundError where there is none. Not for another process."""

    @abstractmethod
    def put(self, name: str, data: bytes) -> None:
        """Write a file, or replace it."""

    @abstractmethod
    def create(self, name: str, data: bytes) -> bool:
        """Write a file unless it is there; whether it was written."""

    @abstractmethod
    def upload(self, source: Path, name: str) -> None:
        """Copy a local file to a name, or replace what is there."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    @abstractmethod
    def link(self, name: str) -> str:
        """Where a person or a program finds a file."""


def open_store(where: str) -> Store:
    """The store in a folder, or below an address like ``s3://bucket/prefix``.

    Keys and endpoint of S3 come from the usual variables (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``, ...).
    """
    if where.startswith("s3://"):
        return BucketStore(where)
    if "://" in where:
        raise SourceError(f"expected a folder or s3://BUCKET/PREFIX for the output, found {where}; name one of these")
    return FolderStore(Path(where))


class FolderStore(Store):
    """A folder of this machine, or one that several machines mount."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def read(self, name: str) -> bytes | None:
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            return None

    def read_all(self, folder: str) -> dict[str, bytes]:
        found = ((name, self.read(f"{folder}/{name}")) for name in self.names(folder))
        return {name: data for name, data in found if data is not None}

    def sizes(self, folder: str) -> dict[str, int]:
        path = self._path(folder)
        if not path.is_dir():
            return {}
        found: dict[str, int] = {}
        for entry in os.scandir(path):
            if not entry.name.startswith("."):
                with suppress(FileNotFoundError):  # another worker has just removed it
                    found[entry.name] = entry.stat().st_size
        return found

    def open(self, name: str) -> pa.NativeFile:
        return pa.memory_map(str(self._path(name)))

    def put(self, name: str, data: bytes) -> None:
        os.replace(self._write(name, io.BytesIO(data)), self._path(name))

    def create(self, name: str, data: bytes) -> bool:
        unfinished = self._write(name, io.BytesIO(data))
        try:
            os.link(unfinished, self._path(name))
        except FileExistsError:
            return False
        finally:
            unfinished.unlink()
        return True

    def upload(self, source: Path, name: str) -> None:
        with source.open("rb") as content:
            os.replace(self._write(name, content), self._path(name))

    def remove(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    def link(self, name: str) -> str:
        return self._path(name).as_uri()

    def _path(self, name: str) -> Path:
        return self._root / _checked(name)

    def _write(self, name: str, content: IO[bytes]) -> Path:
        """A hidden file beside the final one, whole and on the disk."""
        folder = self._path(name).parent
        folder.mkdir(parents=True, exist_ok=True)
        handle, hidden = tempfile.mkstemp(dir=folder, prefix=".partial-")
        try:
            with open(handle, "wb") as file:
                shutil.copyfileobj(content, file, 2**20)
                file.flush()
                os.fsync(handle)
            os.chmod(hidden, 0o644)
        except BaseException:
            os.unlink(hidden)
            raise
        return Path(hidden)


class BucketStore(Store):
    """A prefix of a bucket that speaks S3 and its conditional writes (``If-None-Match``)."""

    def __init__(self, address: str) -> None:
        import s3fs

        self._address = address.rstrip("/")
        self._root = self._address.removeprefix("s3://")
        # Listings that are remembered would miss what other workers write.
        self._files: Any = s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)

    def read(self, name: str) -> bytes | None:
        try:
            data: bytes = self._files.cat_file(self._key(name))
        except FileNotFoundError:
            return None
        return data

    def read_all(self, folder: str) -> dict[str, bytes]:
        keys = [f"{self._key(folder)}/{name}" for name in self.names(folder)]
        found = self._files.cat(keys, on_error="omit") if keys else {}
        return {key.rsplit("/", 1)[1]: data for key, data in found.items()}

    def sizes(self, folder: str) -> dict[str, int]:
        try:
            found = self._files.ls(self._key(folder), detail=True)
        except FileNotFoundError:
            return {}
        return {entry["name"].rsplit("/", 1)[1]: int(entry["size"] or 0) for entry in found}

    def open(self, name: str) -> pa.NativeFile:
        return PyFileSystem(FSSpecHandler(self._files)).open_input_file(self._key(name))

    def put(self, name: str, data: bytes) -> None:
        self._files.pipe_file(self._key(name), data)

    def create(self, name: str, data: bytes) -> bool:
        try:
            self._files.pipe_file(self._key(name), data, mode="create")
        except FileExistsError:
            return False
        return True

    def upload(self, source: Path, name: str) -> None:
        self._files.put_file(str(source), self._key(name))

    def remove(self, name: str) -> None:
        if self._files.exists(self._key(name)):
            self._files.rm_file(self._key(name))

    def link(self, name: str) -> str:
        return f"{self._address}/{_checked(name)}"

    def _key(self, name: str) -> str:
        return f"{self._root}/{_checked(name)}"


def _checked(name: str) -> str:
    """``name``, if it is plain: names are made of what the network says."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"expected a plain relative name, found {name!r}")
    return name
