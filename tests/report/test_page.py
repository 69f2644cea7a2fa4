"""The page's text, then the page as a browser shows it: phone and desktop, light and dark, without a network."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from made_results import make_result, with_cases
from senet.measuring.numbers import mean_sd
from senet.measuring.paired import paired_difference
from senet.recipe import build_recipe
from senet.report.page import notes, render
from senet.results.comparison import Result
from senet.results.metric import Metric
from senet.results.tables import difference_words

TWO = {"plain": [98.15, 97.98, 98.32], "SE": [98.65, 98.58, 98.92]}
MANY = {"plain": [98.15, 97.98, 98.32], **{f"SE squeeze=max gate=hard_sigmoid, reduction {r}": [98.0, 98.5, 97.0 + r] for r in (1, 2)}}
ERROR = Metric("error", "mean absolute error", higher_is_better=False, decimals=3)
INK = make_result({"plain": [0.210, 0.200, 0.190], "SE": [0.110, 0.101, 0.090]}, metric=ERROR, classes=())
DICE = Metric("dice", "Dice", "%")
MASKS = make_result(
    {"plain": [88.0, 88.4, 88.1], "sSE": [88.9, 88.8, 89.4], "cSE": [88.2, 88.1, 88.9], "scSE": [89.2, 89.0, 89.9]},
    metric=DICE,
    classes=("background", "nucleus"),
    tables=True,
)
PICTURES = TemporaryDirectory()
SHOWN = with_cases(MASKS, Path(PICTURES.name))
RESULTS = {
    "two": make_result(TWO),
    "many": make_result(MANY),
    "one seed": make_result({"plain": [98.0], "SE": [98.0]}, epochs=1),
    "ink": INK,
    "masks": MASKS,
    "pictures": SHOWN,
}
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
CONTRAST = (Path(__file__).parent / "contrast.js").read_text()


@pytest.mark.parametrize("result", RESULTS.values(), ids=RESULTS.keys())
def test_page_needs_nothing_from_outside(result: Result) -> None:
    page = re.sub(r"data:image/webp;base64,[A-Za-z0-9+/]+=*", "data:,", render(result))
    assert set(re.findall(r'(?:src|href)="([^"]*)"', page)) == {"data:,"}
    assert "//" not in page
    assert "url(" not in page
    assert "<script" not in page
    assert "@import" not in page


def test_page_says_the_summary_and_every_number_of_the_table() -> None:
    page = render(RESULTS["two"])
    for text in (
        "SE raises top-1 by 0.57 points",
        "A difference beyond chance",
        "98.15 ± 0.17",
        "+0.42 to +0.71",
        "272 k",
        "+0.96 %",
        "1.08\u00d7",
    ):
        assert text in page


def test_page_of_an_error_speaks_of_it_and_of_no_class() -> None:
    page = render(INK)
    text = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    for words in (
        "SE lowers mean absolute error (lower is better) by 0.100 over plain",
        "Difference in mean absolute error (lower is better) to plain",
        "Mean absolute error is the validation value after the last epoch",
        '<th scope="col">Mean absolute error</th>',
        '<th scope="col">Best epoch</th>',
        "Validation mean absolute error",
        "0.100 ± 0.010",
        "595 validation images. 20 epochs",
        "<h2>Excitation</h2>",
        "all images",
    ):
        assert words in text
    for words in ("top-1", "Top-1", "point", "percent ", "class<", "all classes", "a class", "One validation image"):
        assert words not in text


def test_gates_of_masks_are_told_apart_by_class_and_their_weights_are_said() -> None:
    page = render(MASKS)
    assert "Excitation by class" in page
    assert page.count("<i></i>nucleus</span>") == page.count("<i></i>background</span>") >= 3
    assert "a mask in pixels that are not ignored" in page
    assert "Mean gate over what images hold of a class" in page
    assert "a mask in pixels" not in render(RESULTS["two"])


def test_gates_of_images_without_classes_are_not_those_of_the_first_class() -> None:
    """A result of masks that says nothing of weights: its gates were recorded over all images, as class 0."""
    variants = [
        replace(
            variant,
            excitations=tuple(replace(one, classes={0: one.classes[0]}, weighted=False) for one in variant.excitations),
        )
        for variant in MASKS.variants
    ]
    page = render(replace(MASKS, variants=tuple(variants)))
    assert "Excitation by class" not in page
    assert "<i></i>all images</span>" in page
    assert "<i></i>background</span>" not in page


def test_page_of_masks_tells_figures_by_part_and_no_share_of_images() -> None:
    page = render(MASKS)
    for words in (
        "Dice % by class",
        "Dice % by region size",
        "Iou by region size",
        "small (&lt; 100 px)",
        "pixels 100,000",
        "<td>\N{EN DASH}</td>",
        "\N{EN DASH}: a seed has no figure",
    ):
        assert words in page
    dice = [[run.tables["region size"]["small (< 100 px)"]["dice"] for run in variant.runs] for variant in MASKS.variants]
    small = [[value for value in values if value is not None] for values in dice]
    difference = paired_difference(small[2], small[0])
    assert difference_words(difference, DICE) in page
    assert mean_sd(small[2]) in page
    assert "points of Dice" in page
    assert "<i>vessel" not in page
    for words in ("One validation image", "accuracy after"):
        assert words not in page
    assert "Parts of the images" not in render(RESULTS["two"])


def test_page_shows_the_images_that_were_chosen() -> None:
    page = render(SHOWN)
    for words in (
        "The best, median and worst images",
        "Chosen by Dice on the image alone, mean over the variants, among 89 of 595 validation images; the other 506 could not",
        "best weights of seed 0",
        "&lt;i&gt;median.png, slice 3 of 9, 192 \N{MULTIPLICATION SIGN} 128 pixels<",
        "&lt;i&gt;worst.png, slice 3 of 9, 384 \N{MULTIPLICATION SIGN} 256 pixels, shown smaller<",
        "Dice 75.00 %",
        "<b>76.00 %</b>",
        'alt="Worst image, scSE, Dice 58.00 %: difference"',
        '<i style="background: rgb(33 102 172)"></i>missed: under-segmented',
    ):
        assert words in page
    assert page.count("data:image/webp;base64,") == 3 * (2 + 4 * 2 + 2)
    assert page.count('class="pixels"') == 2 + 4 * 2 + 2
    assert page.count("<details open>") == page.count("<summary>Gates of positions") - 2 == 1
    assert page.count("SE_6_1 (decoder1.sse): 0.16 to 0.61</small>") == 3
    assert "linear-gradient(90deg, rgb(38 34 98), " in page
    assert "missing" not in page.replace(".missing", "")
    assert 'id="cases"' not in render(MASKS)


def test_page_says_which_pictures_are_missing(tmp_path: Path) -> None:
    result = with_cases(MASKS, tmp_path)
    (tmp_path / result.cases.files[3].file).write_bytes(b"other")  # pyright: ignore[reportOptionalMemberAccess]
    page = render(result)
    assert "1 of 36 pictures are missing: pictures/ is not beside result.json as the comparison left it." in page
    assert 'aria-label="Best image, plain, Dice 95.00 %: difference, missing"' in page
    assert page.count("data:image/webp;base64,") == 35


def test_names_of_a_user_cannot_break_the_page() -> None:
    recipe = build_recipe({"name": "<i>", "about": "</pre><i>\x1b[31m\u202e"})
    result = make_result({"plain": [1.0, 2.0], "<b>SE</b> & co\x1b[31m\u202e": [2.0, 2.5]}, recipe=recipe)
    page = render(result)
    assert "<b>SE" not in page
    assert "</pre><i>" not in page
    assert page.replace("\n", "").isprintable()


def test_notes_tell_the_limits_of_the_numbers() -> None:
    text = " ".join(notes(RESULTS["many"]))
    assert "One validation image is 0.17 points" in text
    assert "not the choice of the validation images" in text
    assert "among 2, one may exclude 0 by chance" in text
    assert "deviation" not in " ".join(notes(RESULTS["one seed"]))


def test_a_comparison_without_gates_says_so() -> None:
    assert "No variant has channel gates" in render(make_result(TWO, gates=False))


@pytest.fixture(scope="module")
def browser() -> Iterator:
    if shutil.which(CHROMIUM) is None:
        pytest.skip(f"{CHROMIUM} is not installed: the page was not looked at")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", RESULTS)
def test_page_in_a_browser(browser, tmp_path: Path, name: str, width: int, scheme: str) -> None:
    file = tmp_path / "report.html"
    file.write_text(render(RESULTS[name]), encoding="utf-8")
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    requests, complaints = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(file.as_uri())
    page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")

    assert [url for url in requests if not url.startswith("data:")] == [file.as_uri()]
    assert complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for section in ("results", "learning", "excitation", "cost", "setup"):
        assert page.locator(f"section#{section} h2").is_visible()
    figures = page.locator("svg[role=img]")
    assert figures.count() >= 4
    assert all(figures.nth(i).get_attribute("aria-label") for i in range(figures.count()))

    texts = page.evaluate(CONTRAST)
    assert len(texts) > 100
    assert [text for text in texts if text["contrast"] < 4.5] == []
    assert [text for text in texts if text["size"] < 9.5] == []
    light = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(252, 251, 248)"
    assert light == (scheme == "light")
    context.close()
