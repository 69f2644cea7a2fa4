"""The images that a comparison shows: which are chosen, what is written of them, and what a task of a user's own has to give."""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

import senet.comparison.measure as measure
from data.volumes.made_volumes import write_case
from senet.analysis.heat_map import heat_map
from senet.analysis.spatial import record_spatial_gates
from senet.comparison import compare
from senet.comparison.cases import chosen_images, gate_maps, measure_cases
from senet.comparison.picture_folder import SIDE, PictureFolder, part_of_name
from senet.comparison.prepare import PreparedVariant, prepare_variants
from senet.comparison.variants import expand
from senet.data.preview import LOSSLESS_BYTES, preview
from senet.data.source import UnreadableImageError
from senet.models.create import create_model
from senet.recipe import load_recipe
from senet.report.page import render
from senet.results.comparison import Result
from senet.tasks.task import ImagePictures
from senet.weights.store import save_weights
from tasks.segmentation.made_masks import tiny_masks

NAN = float("nan")
SMALL = {"data.num_classes": None, "data.image_size": 32, "data.workers": 0, "model.options.width": 4, "model.options.kernel": 3}
SHORT = {"data.volumes.spacing": None, "data.volumes.val": ["case1", "case2"]}
PATCHES = {"model.name": "unet3d", "model.options.depth": 2, "data.volumes.patch": [8, 8, 8], "data.volumes.patches": 2}


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [
        ([], {}),
        ([NAN, float("inf")], {}),
        ([NAN, 3.0], {"best": 1}),
        ([1.0, 3.0], {"best": 1, "worst": 0}),
        ([1.0, 3.0, 2.0], {"best": 1, "median": 2, "worst": 0}),
        ([1.0, 3.0, NAN, 2.0, 4.0], {"best": 4, "median": 1, "worst": 0}),
        ([5.0, 5.0, 5.0, 5.0, 5.0], {"best": 0, "median": 2, "worst": 4}),
        ([2.0, 5.0, 2.0, 5.0], {"best": 1, "median": 3, "worst": 2}),
    ],
)
def test_best_median_and_worst(scores: list[float], chosen: dict[str, int]) -> None:
    assert chosen_images(np.array(scores)) == chosen


def test_of_an_error_the_lowest_is_best() -> None:
    assert chosen_images(np.array([1.0, 3.0, 2.0]), higher_is_better=False) == {"best": 0, "median": 2, "worst": 1}


def test_pictures_are_named_by_their_content_and_others_are_removed(tmp_path: Path) -> None:
    folder = PictureFolder(tmp_path / "pictures")
    folder.keep(())
    noise = Image.fromarray(np.random.default_rng(0).integers(256, size=(SIDE, SIDE, 3), dtype=np.uint8))
    kept = [folder.write(Image.new("L", (3, 2), grey), f"best-{grey}", "truth") for grey in (0, 200)]
    large = folder.write(noise.resize((2 * SIDE, SIDE)), "worst", "image")
    assert [file.size for file in (*kept, large)] == [(3, 2), (3, 2), (SIDE, SIDE // 2)]
    assert all(re.fullmatch(r"pictures/best-\d+-[0-9a-f]{12}\.webp", file.file) for file in kept)
    for file, grey in zip(kept, (0, 200), strict=True):
        with Image.open(tmp_path / file.file) as picture:
            assert (picture.convert("RGB").getcolors(), picture.format) == ([(6, (grey,) * 3)], "WEBP")  # small ones are exact
    assert LOSSLESS_BYTES < (tmp_path / large.file).stat().st_size < SIDE * SIDE // 2 * 3

    content = kept[0].read(tmp_path)
    assert content is not None
    assert kept[0].read(tmp_path / "elsewhere") is None
    (tmp_path / kept[1].file).write_bytes(content)
    assert kept[1].read(tmp_path) is None, "another picture under its name"

    folder.keep(kept[:1])
    assert [file.name for file in folder.path.iterdir()] == [kept[0].file.partition("/")[2]]
    folder.keep(())
    assert not folder.path.exists()


@pytest.mark.parametrize(
    ("text", "part"), [("Truth!", "truth"), ("../..", "picture"), ("\x1b[31m", "31m"), ("a b" * 40, ("a-b" * 40)[:40])]
)
def test_names_of_pictures_can_stand_in_a_file_name(text: str, part: str) -> None:
    assert part_of_name(text) == part


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "ROUNDS", 3)
        recipe = tiny_masks(training__epochs=1, model__name="unet")
        return compare(recipe, vary={"block": [None, "scse"]}, seeds=1, out=tmp_path_factory.mktemp("runs"), progress=False)


def test_a_comparison_of_masks_shows_three_images(compared: Result) -> None:
    cases = compared.cases
    assert cases is not None
    assert (cases.ranked, [case.rank for case in cases.images]) == (5, ["best", "median", "worst"])
    assert len({case.name for case in cases.images}) == 3
    means = [case.score for case in cases.images]
    assert means == sorted(means, reverse=True)
    for case in cases.images:
        assert case.score == pytest.approx(np.mean([variant.score for variant in case.variants]), abs=1e-12)
        assert [picture.name for picture in case.pictures] == ["image", "truth"]
        assert [variant.label for variant in case.variants] == ["plain", "scSE"]
        assert {picture.size for variant in case.variants for picture in (*variant.pictures, *case.pictures)} == {case.size}
    assert compared.json is not None
    assert all(file.read(compared.json.parent) for file in cases.files)
    assert "missed: under-segmented" in cases.legend
    for case in cases.images:
        plain, scse = case.variants
        assert plain.gates == ()
        assert [re.sub(r"\d\.\d\d", "0", file.name) for file in scse.gates] == [
            "SE_1_1 (encoder1.se.sse): 0 to 0",
            "SE_4_1 (decoder1.se.sse): 0 to 0",
            "SE_5_1 (decoder2.se.sse): 0 to 0",
        ]

    read = Result.read(compared.json)
    assert read.cases == cases
    page = Path(compared.page or "").read_text(encoding="utf-8")
    assert page == render(read)
    assert page.count('src="data:image/webp;base64,') == len(cases.files) == 3 * (2 + 2 * 2 + 3)


def test_the_same_comparison_again_shows_the_same_pictures(compared: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "ROUNDS", 3)
    assert compared.json is not None
    left = compared.json.parent / "pictures" / "best-0-left-0123456789ab.webp"
    left.write_bytes(b"of another comparison")
    again = compare(compared.recipe, vary={"block": [None, "scse"]}, seeds=1, out=compared.json.parent.parent, progress=False)
    assert again.cases == compared.cases
    assert not left.exists()


def test_a_page_without_the_pictures_says_what_is_missing(compared: Result, tmp_path: Path) -> None:
    assert compared.json is not None
    moved = tmp_path / "result.json"
    moved.write_bytes(compared.json.read_bytes())
    page = render(Result.read(moved))
    assert "27 of 27 pictures are missing: pictures/ is not beside result.json" in page
    assert "data:image" not in page

    older = json.loads(moved.read_text())
    del older["cases"]
    moved.write_text(json.dumps(older))
    assert Result.read(moved).cases is None
    assert 'id="cases"' not in render(Result.read(moved))


def prepared_discs(**changes: Any) -> list[PreparedVariant]:
    return prepare_variants(expand(tiny_masks(model__name="unet", **changes), {"model.block": [None, "sse"]}))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    paths = [tmp_path_factory.mktemp("weights") / f"{name}.safetensors" for name in ("unet", "sse_unet")]
    for path in paths:
        torch.manual_seed(0)
        save_weights(create_model(path.stem, num_classes=3, in_channels=1, width=4, kernel=3, norm="batch", depth=2), path)
    return paths


@dataclass(frozen=True)
class Fewer:
    """Validation images of which some cannot be read, and of which only some are there."""

    whole: Any
    unreadable: tuple[int, ...] = ()
    count: int = 5
    in_memory: bool = True

    def __len__(self) -> int:
        return self.count

    @property
    def targets(self) -> Any:
        return self.whole.targets[: self.count]

    def read(self, index: int) -> Any:
        if index in self.unreadable:
            raise UnreadableImageError(f"{self.describe(index)}: is damaged")
        return self.whole.read(index)

    def describe(self, index: int) -> str:
        return self.whole.describe(index)


def with_images(prepared: list[PreparedVariant], *sets: Any) -> list[PreparedVariant]:
    return [replace(one, source=replace(one.source, val=images)) for one, images in zip(prepared, sets, strict=True)]


def test_images_that_cannot_be_read_are_not_ranked(weights: list[Path], tmp_path: Path) -> None:
    prepared = prepared_discs()
    few = Fewer(prepared[0].source.val, unreadable=(0, 3))
    cases = measure_cases(with_images(prepared, few, few), weights, PictureFolder(tmp_path / "pictures"))
    assert cases is not None
    assert cases.ranked == 3
    assert {case.name for case in cases.images} == {"discs 1", "discs 2", "discs 4"}
    gone = Fewer(prepared[0].source.val, unreadable=(0, 1, 2, 3, 4))
    assert measure_cases(with_images(prepared, gone, gone), weights, PictureFolder(tmp_path / "none")) is None
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(("count", "ranks"), [(1, ["best"]), (2, ["best", "worst"])])
def test_few_images_are_shown_once(count: int, ranks: list[str], weights: list[Path], tmp_path: Path) -> None:
    prepared = prepared_discs()
    few = Fewer(prepared[0].source.val, count=count)
    cases = measure_cases(with_images(prepared, few, few), weights, PictureFolder(tmp_path / "pictures"))
    assert cases is not None
    assert [case.rank for case in cases.images] == ranks


def test_variants_on_other_images_are_not_shown_side_by_side(weights: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    prepared = prepared_discs()
    images = prepared[0].source.val
    assert measure_cases(with_images(prepared, images, Fewer(images, count=4)), weights, PictureFolder(tmp_path)) is None
    assert "different validation images" in caplog.text


def test_variants_that_see_an_image_in_another_size_are_not_shown_side_by_side(
    weights: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prepared = prepared_discs()
    images = prepared[0].source.val
    cut = [image[:-1] for image in images.images], [mask[:-1] for mask in images.targets]  # pyright: ignore[reportAttributeAccessIssue]
    other = type(images)(*cut)  # pyright: ignore[reportCallIssue] - discs of a test
    assert measure_cases(with_images(prepared, images, other), weights, PictureFolder(tmp_path)) is None
    assert "in several sizes, so that it is not shown" in caplog.text


def test_heat_maps_are_those_of_the_gates_over_the_image() -> None:
    network = create_model("sse_unet", num_classes=3, in_channels=1, width=4, kernel=3, norm="batch", depth=2)
    image = torch.randn(1, 20, 26)
    maps = gate_maps(network, image)
    first, _, middle, last = record_spatial_gates(network, image[None])
    picture = preview(image.movedim(0, -1).numpy())
    assert [name.partition(" ")[0] for name in maps] == [first.name, middle.name, last.name]
    for shown, block in zip(maps.values(), (first, middle, last), strict=True):
        assert shown.tobytes() == heat_map(picture, block.map()).tobytes()
    assert f"{last.map().min():.2f} to {last.map().max():.2f}" in list(maps)[-1]
    assert gate_maps(create_model("unet", num_classes=3, in_channels=1, width=4, depth=2), image) == {}


def test_of_a_volume_the_gates_of_the_slice_in_the_middle_are_shown() -> None:
    network = create_model("scse_unet3d", num_classes=3, in_channels=1, width=4, depth=2)
    image = torch.randn(1, 8, 16, 12)
    maps = gate_maps(network, image)
    last = record_spatial_gates(network, image[None])[-1]
    assert list(maps.values())[-1].tobytes() == heat_map(preview(image[:, 4].movedim(0, -1).numpy()), last.map()).tobytes()


@pytest.mark.parametrize("cut", [{}, {"data.volumes.slices": 3}, PATCHES], ids=["slices", "neighbours", "volumes"])
def test_volumes_are_shown_by_a_slice(cut: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for number in range(3):
        write_case(tmp_path / "data", number)
    recipe = load_recipe("malc", {"data.root": str(tmp_path / "data"), "model.name": "unet", **SMALL, **SHORT, **cut})
    prepared = prepare_variants(expand(recipe, {"model.block": [None, "sse"]}))
    paths = []
    for one in prepared:
        network = one.task.build(one.variant.recipe.model, one.source, "cpu")
        paths.append(tmp_path / f"{one.variant.slug}.safetensors")
        save_weights(network, paths[-1])
    cases = measure_cases(prepared, paths, PictureFolder(tmp_path / "pictures"))
    assert cases is not None
    whole = "data.volumes.patch" in cut
    assert cases.ranked == 2 if whole else cases.ranked > 3
    for case in cases.images:
        assert bool(re.fullmatch(r"slice \d+ of \d+", case.note)) is whole
        assert {file.size for file in case.files} == {case.size}
        assert len(case.variants[1].gates) == 3


class Boxes:
    """Part of a task that shows boxes: which a variant gains over the baseline, and which it loses."""

    def image_scores(self, outputs: Any, batch: Any, classes: Any) -> Any:
        return [float(index) for index in batch.indices]

    def pictures(self, image: Any, batch: Any, predictions: Any, classes: Any, *, side: int) -> ImagePictures:
        networks = []
        for prediction in predictions:
            drawn = image.convert("RGB")
            ImageDraw.Draw(drawn).rectangle((1, 1, 5, 5), outline="lime" if prediction is predictions[0] else "red")
            networks.append({"boxes": drawn} | ({} if prediction is predictions[0] else {"gained and lost": drawn}))
        return ImagePictures({"image": image}, networks, {"gained": (0, 255, 0), "lost": (255, 0, 0)})


def test_any_task_can_show_variants_against_the_baseline(weights: list[Path], tmp_path: Path) -> None:
    prepared = prepared_discs()
    for one in prepared:
        for name in ("image_scores", "pictures"):
            setattr(one.task, name, getattr(Boxes(), name))
    cases = measure_cases(prepared, weights, PictureFolder(tmp_path / "pictures"))
    assert cases is not None
    assert [case.name for case in cases.images] == ["discs 4", "discs 2", "discs 0"]
    assert [[file.name for file in variant.pictures] for variant in cases.images[0].variants] == [["boxes"], ["boxes", "gained and lost"]]
    assert cases.legend == {"gained": (0, 255, 0), "lost": (255, 0, 0)}


def test_a_task_that_shows_no_images_has_no_such_section(weights: list[Path], tmp_path: Path) -> None:
    plain = [replace(one, task=SimpleNamespace(metrics=one.task.metrics)) for one in prepared_discs()]  # pyright: ignore[reportArgumentType]
    assert measure_cases(plain, weights, PictureFolder(tmp_path / "pictures")) is None
