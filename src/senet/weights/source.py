"""What the argument `weights` can be: a file of ours, a file of another library, the name of a release, a repository of the hub."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from senet.errors import UsageError, choice_error
from senet.file_kind import user_path
from senet.weights.entries import ENTRY, find_state
from senet.weights.hub import HubRepo, download
from senet.weights.loaded import fingerprint_of_file
from senet.weights.metadata import WeightsMetadata
from senet.weights.prefixes import views
from senet.weights.releases.libraries import PUBLISHERS
from senet.weights.releases.library import Library, Release, Tensors
from senet.weights.remote import fetch
from senet.weights.store import read_file, read_metadata
from senet.weights.tensor_fingerprint import fingerprint_of_tensors


@dataclass(frozen=True)
class Source:
    """Place that weights come from, and whose they are.

    Args:
        text: what the user wrote.
        path: the file, if it is on this machine.
        library: whose file it is; None if the user does not say.
        release: which of the library's networks; None if the user does not say.
        repo: the repository of the Hugging Face hub that has it, if it is there.
        entry: which of the state dicts in a training program's file; None = it is looked for.
        state: a state dict in memory, or what a training program saves around one, instead of a file.
    """

    text: str
    path: Path | None = None
    library: Library | None = None
    release: Release | None = None
    repo: HubRepo | None = None
    entry: str | None = None
    state: Mapping[str, Any] | None = None

    @classmethod
    def parse(cls, source: "str | Path | Mapping[str, Any] | Source") -> "Source":
        """Read "best.safetensors", "timm:file.pth", "timm/legacy_seresnet50", "pytorchcv/seresnet50b:file.pth" or "hf:USER/REPO@REVISION".

        "USER/REPO" alone is a repository where it cannot be a file. "checkpoint.pth#model" names an entry of a file.

        Raises:
            UsageError: for an unknown name of a known library; the nearest is given. Or if "hf:" is followed by no repository.
        """
        if isinstance(source, Source):
            return source
        if isinstance(source, Mapping):
            return cls("the state dict", state=source)
        if not isinstance(source, str | Path):
            raise UsageError(f"weights are a path, the name of a release or a state dict, got {type(source).__name__}")
        text = str(source)
        if not os.path.lexists(user_path(text)) and ENTRY in text:
            base, _, entry = text.rpartition(ENTRY)
            return replace(cls.parse(base), text=text, entry=entry)
        if isinstance(source, Path) or os.path.lexists(user_path(text)):
            return cls(text, user_path(text))
        head, colon, file = text.partition(":")
        prefix, slash, name = head.partition("/")
        library = PUBLISHERS.get(prefix)
        if library is None or not (colon or slash):
            repo = HubRepo.parse(text)
            return cls(text, None if repo else user_path(text), repo=repo)
        names = [release.name for release in library.releases]
        if slash and name not in names:
            raise choice_error(f"network of {prefix}", name, names)
        release = library.releases[names.index(name)] if slash else None
        return cls(text, user_path(file) if colon else None, library, release)

    @property
    def prefix(self) -> str:
        """What the user wrote before the file."""
        return self.text.partition(":")[0] + ":"

    @property
    def at_hand(self) -> bool:
        """Whether it is a file, or in memory, so that nothing needs to be fetched."""
        return self.path is not None or self.state is not None

    def local(self) -> Path:
        """Return the file, fetched if need be.

        Raises:
            UsageError: if it cannot be fetched.
        """
        if self.path is not None:
            return self.path
        if self.repo is not None:
            return download(self.repo)
        assert self.library is not None
        assert self.release is not None
        if self.release.url is None:
            raise UsageError(
                f"{self.library.name} published no file that can be fetched for {self.release.name}; "
                f"give one of your own: '{self.library.name}/{self.release.name}:FILE'"
            )
        return fetch(self.release.url, self.release.digest)

    def metadata(self) -> WeightsMetadata:
        """Return what the file says about itself; those of other libraries say nothing.

        Raises:
            UsageError: if it is missing or damaged.
        """
        if self.state is not None:
            return WeightsMetadata(self.text)
        path = self.local()
        return WeightsMetadata(self.text) if self._owner(path) else read_metadata(path)

    def open(self) -> "OpenedWeights":
        """Read the file.

        Raises:
            UsageError: if it is missing, damaged, or holds anything but tensors.
        """
        if self.state is not None:
            return OpenedWeights(self, Path(), find_state(self.state, self.text, self.entry), WeightsMetadata(self.text))
        path = self.local()
        owner = self._owner(path)
        if owner is not None and owner.read is not None:
            return OpenedWeights(replace(self, library=owner), path, owner.read(path), WeightsMetadata(self.text))
        tensors, metadata = read_file(path, self.entry)
        if self.library is not None and metadata.config is not None:
            raise UsageError(f"{str(path)!r} was written by this package, and not by {self.library.name}: give it without {self.prefix!r}")
        return OpenedWeights(self, path, tensors, metadata)

    def _owner(self, path: Path) -> Library | None:
        """Return the library that the user names, or whose files alone are called so."""
        return self.library or next((library for library in PUBLISHERS.values() if library.suffix and library.suffix == path.suffix), None)


@dataclass(frozen=True)
class OpenedWeights:
    """Contents of a file of weights.

    Args:
        source: where it came from.
        path: the file.
        tensors: under the names that they have there.
        metadata: what the file says about itself.
        prefix: what stood before these names in the file.
        beside: names of the file's tensors that are not below that prefix.
    """

    source: Source
    path: Path
    tensors: Tensors
    metadata: WeightsMetadata
    prefix: str = ""
    beside: tuple[str, ...] = ()

    def fingerprint(self) -> str:
        """Return the SHA-256 of the file, or of a state dict's tensors."""
        return fingerprint_of_tensors(self.tensors) if self.source.state is not None else fingerprint_of_file(self.path)

    def views(self) -> Iterator["OpenedWeights"]:
        """Yield the same with the file's own names, and then with the tensors below each prefix that its network may have there."""
        for prefix, tensors in views(self.tensors):
            beside = tuple(name for name in self.tensors if not name.startswith(prefix))
            yield replace(self, tensors=tensors, prefix=prefix, beside=beside)

    @property
    def is_native(self) -> bool:
        """Whether the file says that this package made it."""
        return self.source.library is None and self.metadata.config is not None

    def releases(self, model: str | None = None) -> Iterator[tuple[Library, Release]]:
        """Yield the releases that the file may hold; `model` keeps those of one network of ours."""
        libraries = PUBLISHERS.values() if self.source.library is None else (self.source.library,)
        for library in libraries:
            for release in library.releases:
                if self.source.release in (None, release) and model in (None, release.model):
                    yield library, release
