"""YAML of strangers: plain values, each key once, bounded; everything else is one line that says where."""

import os
from pathlib import Path

import pytest

from senet.errors import UsageError
from senet.recipe import load_recipe, parse_yaml
from senet.recipe.yaml_text import LONGEST_YAML
from within import within

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {x: 1, y: 2}\n" + "".join(
    f"{b}: &{b} {{<<: [{', '.join([f'*{a}'] * 9)}]}}\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 400))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, r"more than 10,000 values .*\(line \d, column \d+\)"),
        (MERGES, r"more than 10,000 values .*\(line \d, column \d+\)"),
        (CHAIN, r"20 levels, aliases followed \(line \d+, column \d+\)"),
        ("a: &a [*a]", r"the alias \*a is a part of what it stands for \(line 1"),
        ("a: &a {b: {c: *a}}", r"the alias \*a is a part of what it stands for \(line 1"),
        ("[" * (LONGEST_YAML - 1), "20 levels"),
        ("- " * (LONGEST_YAML // 2), "20 levels"),
        ("- a\n" * (LONGEST_YAML // 4), "more than 10,000 values"),
        ("? a\n" * (LONGEST_YAML // 4), "more than 10,000 values"),
        (" " * LONGEST_YAML + "a", "more than 262,144 characters"),
        ("optim:\n  lr: 1\nseed: 3\noptim:\n  lr: 2\n", r"'optim' is given twice, in lines 1 and 4"),
        ("{a: 1, 'a': 2}", "'a' is given twice, in lines 1 and 1"),
        ("{[1]: 2}", r"a key must be text \(line 1, column 2\)"),
        ("x: !!set {a, b}", r"!!set is no plain value; write text, numbers, .* \(line 1, column 4\)"),
        ("x: !!binary aGk=", "!!binary is no plain value"),
        ("x: !!timestamp 2024-01-01", "!!timestamp is no plain value"),
        ("x: !!python/object/apply:os.system [ls]", "!!python/object/apply:os.system is no plain value"),
        ("x: !mine 3", "!mine is no plain value"),
        ("x: !!int ''", "'' is no int"),
        ("x: !!bool maybe", "'maybe' is no bool"),
        ("x: !!map [1]", "expected a mapping node"),
        ("x: " + "9" * 5000, "a number of 5000 characters"),
        ("x: 0x" + "f" * 5000, "a number of 5002 characters"),
        (r'x: "\UFFFFFFFF"', "escape for a character that does not exist"),
        (r'x: "\U00110000"', "escape for a character that does not exist"),
        ("x: 'a\0b'", "special characters are not allowed"),
        ("--- a\n--- b\n", r"expected a single document.*\(line 2"),
        ("a:\n\tb: 1\n", r"found character '\\t'"),
        ("a: *b", "undefined alias 'b'"),
    ],
)
def test_what_is_not_plain_is_one_line_at_once(text: str, message: str) -> None:
    with within(5), pytest.raises(UsageError, match=f"^mine is not valid YAML.*{message}") as caught:
        parse_yaml(text, "mine")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: &a [1, 2]\nb: *a\nc: {<<: {d: 1}, d: 2}", {"a": [1, 2], "b": [1, 2], "c": {"d": 2}}),
        ("a: 2024-01-01\nb: =", {"a": "2024-01-01", "b": "="}),
        ("a: [0x1f, 010, 1_000, 1.5, .inf, yes, ~, !!str 5]", {"a": [31, 8, 1000, 1.5, float("inf"), True, None, "5"]}),
        ("\ufeffa: 1", {"a": 1}),
        ("", None),
    ],
)
def test_plain_values_are_read_as_ever(text: str, value: object) -> None:
    assert parse_yaml(text) == value


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "about: Kätzchen\n".encode("latin-1"),
            r"mine.yaml is not in UTF-8 but in Latin-1 or another encoding \(line 1\): save it as UTF-8",
        ),
        (b"seed: 1\nabout: caf\xe9\n", r"mine.yaml is not in UTF-8 .* \(line 2\)"),
        ("seed: 1\n".encode("utf-16"), r"mine.yaml is not in UTF-8 but in UTF-16"),
        (b"seed: 1\0\n", r"mine.yaml is not valid YAML"),
        (b"#" * (LONGEST_YAML + 1), r"mine.yaml is longer than 262,144 bytes"),
        (b"optim: {lr: .nan}\n", r"optim.lr must be between 0"),
        (b"data: {mean: [.nan]}\n", r"data.mean.1 must be a finite number, got nan"),
        (b"model: {options: {x: {y: [.inf]}}}\n", r"model.options.x.y.1 must be a finite number, got inf"),
        (b'data: {root: "a\\0b"}\n', r"data.root has the character NUL"),
        (b"seed: 99999999999999999999\n", r"seed must be between"),
    ],
)
def test_a_file_that_is_no_recipe_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        load_recipe(file)
    assert "\n" not in str(caught.value)


def test_a_file_with_a_mark_of_order_is_read(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(b"\xef\xbb\xbfseed: 3\n")
    assert load_recipe(tmp_path / "mine.yaml").seed == 3


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "device.yaml").symlink_to("/dev/zero")
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    (tmp_path / "base.yaml").write_text("base: pipe.yaml\n")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text("seed: 1\n")
    (tmp_path / "mine.txt").write_text("seed: 1\n")
    expected = {
        "pipe.yaml": "is a device or pipe, and no file",
        "folder.yaml": "is a folder",
        "device.yaml": "is a device or pipe, and no file",
        "loop.yaml": "no recipe file",
        "base.yaml": "pipe.yaml is a device or pipe, and no file",
        "run": "is the folder of a run: go on with --resume",
        "mine.txt": "a recipe is a name, or a file that ends in .yaml or .yml",
        "x" * 5000 + ".yaml": "no recipe file",
        "x" * 5000: "unknown recipe",
    }
    for name, message in expected.items():
        with pytest.raises(UsageError, match=message):
            load_recipe(tmp_path / name)
    for name in ("/dev/stdin", "/dev/zero", "."):
        with pytest.raises(UsageError, match="a recipe is a name, or a file"):
            load_recipe(name)
