"""Which backend is asked for, in threads that come and go in any order."""

from threading import Event, Thread

import pytest
import torch

from senet import backend
from senet.ops.backend import requested


def test_a_request_holds_for_its_thread() -> None:
    found = []
    with backend("reference"):
        thread = Thread(target=lambda: found.append(requested()))
        thread.start()
        thread.join()
        assert (found, requested()) == ([None], "reference")
    assert requested() is None


def test_compiled_code_forgets_requests_whose_threads_leave_before_later_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    first_in, second_in, first_out = Event(), Event(), Event()

    def first() -> None:
        with backend("reference"):
            first_in.set()
            second_in.wait(60)
        first_out.set()

    thread = Thread(target=first)
    thread.start()
    first_in.wait(60)
    assert requested() == "reference"
    with backend("cpp"):
        second_in.set()
        first_out.wait(60)
        assert requested() == "cpp"
    thread.join()
    assert requested() is None
