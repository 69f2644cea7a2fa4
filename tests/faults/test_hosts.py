"""Two hosts that train as one: their network is cut for a while, or the host where they met goes for good."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.hosts import Hosts, two_hosts
from faults.launched import ENDS_IN, SENET, Launched
from faults.test_restarts import RECIPE, whole as whole  # the run that was never hurt
from made_runs import assert_same_run
from process_ends import assert_all_end, until
from senet.results.run_folder import RunFolder
from senet.training.launch import PEERS_GONE

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")]

WORDS = ("tiny.yaml", "--folder", "run", "--quiet", "--or-resume")
CUT = 30.0
"""Seconds."""
GONE_IN = 120.0
"""Seconds after which those that are left have ended, as docs/cluster.md says."""


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    with two_hosts(tmp_path) as hosts:
        yield hosts


@pytest.fixture
def launched(hosts: Hosts, tmp_path: Path) -> Iterator[list[Launched]]:
    """Return the launchers of a run on two hosts, in its second epoch; the first is where they met."""
    (tmp_path / "tiny.yaml").write_text(RECIPE.to_yaml())
    launched = [hosts.begin(host, *WORDS) for host in (0, 1)]
    launched[0].until_saved(epoch=1)
    assert all(one.all() for one in launched)
    yield launched
    for one in launched:
        one.clear()


def test_a_network_that_is_cut_for_a_while_changes_nothing(hosts: Hosts, launched: list[Launched], whole: RunFolder) -> None:
    hosts.plug("down")
    steps = launched[0].run.checkpoint.stat().st_mtime_ns
    time.sleep(CUT)
    assert launched[0].run.checkpoint.stat().st_mtime_ns - steps < 5e9, "they trained on without each other"
    hosts.plug("up")
    assert [one.ended() for one in launched] == [0, 0], [one.told() for one in launched]
    assert not any("start anew" in one.told() for one in launched)
    assert_same_run(launched[0].run.path, whole.path)


def test_the_host_where_they_met_is_gone(launched: list[Launched], tmp_path: Path, whole: RunFolder) -> None:
    first, left = launched
    first.clear()
    pids = left.all()
    assert left.ended(GONE_IN) == PEERS_GONE, left.told()
    assert_all_end(pids)
    assert "senet train: the other machines are gone: " in left.lines()[-1]
    assert "Traceback" not in left.told()
    again = Launched(tmp_path, [*SENET, "--resume", "run", "--devices", "2", "--quiet"])
    assert again.ended() == 0, again.told()
    assert_same_run(left.run.path, whole.path)


def test_the_other_host_is_started_again(hosts: Hosts, launched: list[Launched], whole: RunFolder) -> None:
    first, second = launched
    second.clear()
    until(lambda: "process 0 lost the others: all start anew" in first.told(), ENDS_IN)
    again = hosts.begin(1, *WORDS)
    try:
        assert (first.ended(), again.ended()) == (0, 0), first.told() + again.told()
    finally:
        again.clear()
    assert_same_run(first.run.path, whole.path)
