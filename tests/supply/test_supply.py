"""What is locked has checksums, none of it is known to be bad, and the bill of materials names it all."""

import re
from pathlib import Path

import pytest
from supply.audit import asked, bad_locked, bad_minimums, known_bad, main
from supply.lock import LOCKS, ROOT, locked_packages
from supply.sbom import bill

from supply import audit

ENTRY = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;]+)", re.MULTILINE)


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_checksums(name: str) -> None:
    packages = list(locked_packages(ROOT / name))
    assert [(package.name, str(package.version)) for package in packages] == ENTRY.findall((ROOT / name).read_text())
    assert [package.name for package in packages if not package.hashes] == []


def test_all_locks_are_read() -> None:
    assert {path.name for path in ROOT.glob("*.lock")} == set(LOCKS)


def test_nothing_is_locked_or_asked_for_that_is_known_to_be_bad() -> None:
    assert [*bad_locked(known_bad()), *bad_minimums(known_bad())] == []


def test_what_is_bad_would_be_seen(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        "[project]\ndependencies = ['torch>=2.5', 'pillow']\n[project.optional-dependencies]\nreport = ['jinja2>=3.1.6', 'Flask_Cors>=5']\n"
    )
    for name in LOCKS:
        (tmp_path / name).write_text(f"torch==2.5.1 \\\n    --hash=sha256:{'0' * 64}\njinja2==3.1.6 --hash=sha256:{'1' * 64}\n")
    bad = known_bad()
    assert [line.partition(":")[0] for line in bad_locked(bad, tmp_path)] == list(LOCKS)
    assert [line.split()[1] for line in bad_minimums(bad, tmp_path)] == ["torch>=2.5", "pillow", "Flask_Cors>=5"]


def test_every_known_fault_has_an_identifier() -> None:
    pattern = r"CVE-\d{4}-\d{4,}|GHSA(-[0-9a-z]{4}){3}|PYSEC-\d{4}-\d+"
    assert [name for name, entry in known_bad().items() if not all(re.fullmatch(pattern, one) for one in entry["ids"])] == []


def test_without_a_service_the_list_decides(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(audit, "asked", lambda lock: ([], 0))
    assert main() == 0
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("PyPI answered about 0 of ")
    monkeypatch.setattr(audit, "asked", lambda lock: (["requirements.lock: torch 2.5.1: PYSEC-2025-1"], 10**6))
    assert main() == 1
    assert capsys.readouterr() == ("requirements.lock: torch 2.5.1: PYSEC-2025-1\n", "")


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (None, ([], 0)),
        ('{"dependencies": [{"name": "a", "skip_reason": "not found"}]}', ([], 0)),
        ('{"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "CVE-1"}]}]}', (["a.lock: a 1: CVE-1"], 1)),
        ("{", ([], 0)),
    ],
)
def test_answers_of_pip_audit(answer: str | None, found: object, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(words: list[str], **_: object) -> None:
        if answer is not None:
            Path(words[words.index("-o") + 1]).write_text(answer)

    monkeypatch.setattr(audit.subprocess, "run", run)
    assert asked(Path("a.lock")) == found


def test_the_bill_of_materials_names_every_locked_package_with_its_checksums() -> None:
    lock = ROOT / "requirements.lock"
    found = bill(lock, ROOT / "pyproject.toml")
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.5")
    components = {(one["name"], one["version"]): {entry["content"] for entry in one["hashes"]} for one in found["components"]}
    assert list(components) == ENTRY.findall(lock.read_text())
    assert sum(map(len, components.values())) == len(set(re.findall("sha256:([0-9a-f]{64})", lock.read_text())))
    assert len({one["bom-ref"] for one in found["components"]}) == len(found["components"])
    assert found == bill(lock, ROOT / "pyproject.toml")
