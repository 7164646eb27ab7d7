"""Folders that fsspec reaches, as the predictor's source and target."""

import argparse
import io
import os
import posixpath
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import fsspec
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from deploy.predictor.errors import BadPictureError, CannotStartError, said
from deploy.predictor.files import TEMPORARY, write_whole
from deploy.predictor.inputs import Job
from deploy.predictor.outputs import Writer
from deploy.predictor.photos import Parsed
from deploy.predictor.pictures import Pixels, read_picture
from deploy.predictor.streams import Stream

AT_ONCE = 1000
"""Files whose beginnings are asked for at once."""


class Store:
    """A folder that fsspec reaches. Raises CannotStartError if it doesn't."""

    def __init__(self, option: str, uri: str) -> None:
        self.label, self._uri = f"{option} {uri}", uri
        with self.reached():
            self.files, self.root = cast(tuple[Any, str], fsspec.url_to_fs(uri))
            if self.is_local:  # one folder may have many names
                self.root = os.path.realpath(self.root)

    @contextmanager
    def reached(self) -> Generator[None]:
        """Each file system fails in its own ways: all are one line for the user."""
        try:
            yield
        except CannotStartError:
            raise
        except Exception as error:  # botocore, aiohttp, paramiko, ... raise classes of their own
            raise CannotStartError(f"{self.label}: {said(error)}") from None

    @property
    def is_local(self) -> bool:
        """Whether it lies on this machine's disks."""
        return isinstance(self.files, LocalFileSystem)

    @property
    def uri(self) -> str:
        """Its name on all machines: a relative path is of one's own folder."""
        return self.root if self.is_local else self._uri

    def names(self) -> list[str]:
        """Files below it, as paths relative to it, sorted."""
        with self.reached():
            return sorted(posixpath.relpath(path, self.root) for path in self.files.find(self.root))

    def path(self, name: str) -> str:
        """A file's path in its file system."""
        return posixpath.join(self.root, name)

    def write(self, name: str, content: bytes) -> None:
        """The file appears whole or not at all. Raises OSError."""
        path = self.path(name)
        if self.is_local:
            write_whole(Path(path), content)
            return
        folder = posixpath.dirname(path)
        temporary = posixpath.join(folder, f"{TEMPORARY}{uuid.uuid4().hex}")
        try:
            self.files.makedirs(folder, exist_ok=True)
            self.files.pipe_file(temporary, content)
            self._move(temporary, path)
        except Exception as error:  # as in reached
            raise OSError(said(error)) from None

    def _move(self, path: str, new: str) -> None:
        """Object stores copy; fsspec's own way to move takes [ and ? in a name for a pattern."""
        if type(self.files).mv is not AbstractFileSystem.mv:
            self.files.mv(path, new)
            return
        self.files.cp_file(path, new)
        self.files.rm_file(path)

    def heads(self, names: list[str], size: int) -> Iterator[bytes]:
        """The first bytes of files, of many at once where the file system can. Raises CannotStartError."""
        for start in range(0, len(names), AT_ONCE):
            paths = [self.path(name) for name in names[start : start + AT_ONCE]]
            with self.reached():
                found = self.files.cat_ranges(paths, 0, size, on_error="return")
                for path, head in zip(paths, found, strict=True):
                    # Object stores have no range of an empty file.
                    if isinstance(head, BaseException) and self.files.size(path):
                        raise head
            yield from (b"" if isinstance(head, BaseException) else head for head in found)

    def read(self, name: str) -> bytes:
        """A file's content. Raises OSError."""
        try:
            return self.files.cat_file(self.path(name))
        except Exception as error:  # as in reached
            raise OSError(said(error)) from None


class StoreWriter(Writer):
    """The predictor's writer, into a store."""

    def __init__(self, metadata: dict[str, Any], options: argparse.Namespace, store: Store) -> None:
        super().__init__(metadata, options)
        self.store = store
        self._source_is_local = Store("--input", options.input).is_local

    def place_of(self, job: Job) -> str:
        """Its one name; in a bucket it has no folder before it, whatever the current one is."""
        return super().place_of(job) if self._source_is_local else str(job.source)

    def write(self, job: Job, picture: Pixels, parsed: Parsed) -> None:
        """Raises OSError."""
        contents = self.contents(job, picture, parsed)
        for name, content in zip(self.outputs(job), contents, strict=True):
            self.store.write(name, content)


@dataclass(frozen=True)
class StoreStream(Stream):
    """The predictor's stream, out of a store."""

    source: Store = field(kw_only=True)

    def version(self, job: Job) -> None:
        """As everywhere in deploy.cluster, whether a picture has changed is not looked at."""

    def read(self, job: Job) -> Pixels:
        """Raises BadPictureError."""
        if self.source.is_local:
            return super().read(job)
        try:
            content = self.source.files.cat_file(str(job.source))
        except Exception as error:  # as in Store.reached
            raise BadPictureError(said(error)) from None
        return read_picture(io.BytesIO(content), self.max_pixels)
