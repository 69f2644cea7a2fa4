"""What the tests of commands share."""

from collections.abc import Callable

import pytest

from senet.cli.main import main


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return what runs a command of wrong words, and returns the one line that it prints."""

    def line(*words: object) -> str:
        assert main(list(map(str, words))) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        return err

    return line
