"""Result and page of a comparison, which one process at a time makes: who waited for another takes what that one wrote."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from senet.atomic import write_text
from senet.comparison.picture_folder import PictureFolder
from senet.jsontext import json_text
from senet.results.comparison import Result
from senet.results.run_lock import HeldError, only_process
from senet.training.progress import Progress


class ResultFiles:
    """Files that a comparison ends with.

    Args:
        folder: where they lie.
        ending: how their names end.
        report: whether there is to be a page.
    """

    def __init__(self, folder: Path, ending: str, *, report: bool) -> None:
        self.json = folder / f"result{ending}.json"
        self.page = folder / f"report{ending}.html" if report else None
        self.pictures = PictureFolder(folder / f"pictures{ending}")
        self._before = self._versions()

    @contextmanager
    def alone(self, progress: Progress) -> Iterator[None]:
        """Let no other process make a result in the folder while the block runs; wait for one that does."""
        folder = self.json.parent
        with ExitStack() as held:
            try:
                held.enter_context(only_process(folder))
            except HeldError as other:
                progress.print(f"another process makes the result, {other.holder}")
                held.enter_context(only_process(folder, patience=-1))
            yield

    def made_meanwhile(self, seeds: Sequence[int], labels: Sequence[str]) -> Result | None:
        """Return the result of these seeds and variants that another process has written since this one began; None if there is none."""
        if any(now in (None, before) for now, before in zip(self._versions(), self._before, strict=True)):
            return None
        result = Result.read(self.json)
        same = list(result.seeds) == list(seeds) and [variant.label for variant in result.variants] == list(labels)
        return replace(result, page=self.page) if same else None

    def write(self, result: Result) -> Result:
        """Write the result and, if asked, the page, and remove other pictures; return the result with their places."""
        result = replace(result, json=self.json, page=self.page)
        write_text(self.json, json_text(result.to_dict(), indent=1) + "\n")
        if self.page is not None:
            from senet.report.page import render

            write_text(self.page, render(result))
        self.pictures.keep(result.cases.files if result.cases else ())
        return result

    def _versions(self) -> list[tuple[int, int] | None]:
        """Return what tells each file from another of its name; None of one that is not there."""
        files = [self.json] if self.page is None else [self.json, self.page]
        return [(file.stat().st_ino, file.stat().st_mtime_ns) if file.is_file() else None for file in files]
