"""A picture needs nothing beside its file, and the same drawing gives the same file."""

import re
from pathlib import Path
from xml.etree import ElementTree

from senet.report.picture import write_picture
from senet.report.svg import Drawing

SVG = "{http://www.w3.org/2000/svg}"


def drawn() -> Drawing:
    drawing = Drawing(100, 50, "a line & its end")
    drawing.path([(0, 0), (100, 50)], class_="curve s1")
    return drawing


def test_a_picture_stands_alone(tmp_path: Path) -> None:
    write_picture(drawn(), tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg"
    assert (root.attrib["width"], root.attrib["height"], root.attrib["viewBox"]) == ("128", "78", "0 0 128 78")
    assert [element.attrib["aria-label"] for element in root.iter(f"{SVG}svg") if "aria-label" in element.attrib] == ["a line & its end"]
    style = root.findtext(f"{SVG}style") or ""
    for colour in re.findall(r"var\((--\w+)", style):
        assert f"{colour}:" in style, f"{colour} is used, and not defined in the file"
    assert "url(" not in text
    assert "@import" not in text


def test_the_same_drawing_gives_the_same_file(tmp_path: Path) -> None:
    for name in "ab":
        write_picture(drawn(), tmp_path / f"{name}.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
