"""Code that recipes and run folders name: only what lies beside them or in the working folder runs unasked."""

import os
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

import senet
from senet.cli.main import main
from senet.errors import UsageError
from senet.recipe import load_recipe, override
from senet.results.run_folder import RunFolder, resumed_run

FIELDS = {
    "task": "task: {}\n",
    "model.name": "model: {{name: '{}'}}\n",
    "model.block": "model: {{block: '{}'}}\n",
    "data.name": "data: {{name: '{}'}}\n",
}
KIND = "model: {{block: {{kind: '{}', reduction: 4}}}}\n"


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make working/, recipes/ and elsewhere/, each with mine.py, whose import leaves a trace; the first is the working folder."""
    for name in ("working", "recipes", "elsewhere"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.py").write_text(f"from pathlib import Path\nPath('{tmp_path}/ran').touch()\n\ndef make(**options): ...\n")
    monkeypatch.chdir(tmp_path / "working")
    monkeypatch.setattr("senet.userfile._named", set())
    return tmp_path


def recipe_that_names(name: str, folder: Path, form: str = FIELDS["task"]) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(form.format(name))
    return path


@pytest.mark.parametrize("form", [*FIELDS.values(), KIND])
def test_code_beside_a_recipe_or_in_the_working_folder_may_run(form: str, places: Path) -> None:
    for name in (f"{places}/recipes/mine.py:make", f"{places}/working/mine.py:make", "mine.py:make", "../working/./mine.py:make"):
        load_recipe(recipe_that_names(name, places / "recipes", form))
    assert not (places / "ran").exists()


@pytest.mark.parametrize("field", [*FIELDS, "model.block.kind"])
def test_code_elsewhere_needs_a_word(field: str, places: Path) -> None:
    name = f"{places}/elsewhere/mine.py:make"
    path = recipe_that_names(name, places / "recipes", FIELDS.get(field, KIND))
    with pytest.raises(
        UsageError, match=rf"recipe.yaml: {field.removesuffix('.kind')} names code in .*--allow-code {places}/elsewhere/mine.py"
    ):
        load_recipe(path)
    with senet.allow_code(places / "elsewhere"):
        load_recipe(path)
    with senet.allow_code(places / "elsewhere" / "mine.py"):
        load_recipe(path)
    load_recipe(path, {field: name})
    load_recipe(path, only_read=True)
    with pytest.raises(UsageError, match="names code in"):
        load_recipe(path)


def test_no_path_leads_out(places: Path) -> None:
    (places / "recipes" / "link.py").symlink_to(places / "elsewhere" / "mine.py")
    (places / "recipes" / "inner").symlink_to(places / "elsewhere")
    (places / "recipes" / "circle.py").symlink_to(places / "recipes" / "circle.py")
    for name in ("link.py", "inner/mine.py", "../elsewhere/mine.py", "circle.py"):
        with pytest.raises(UsageError):
            load_recipe(recipe_that_names(f"{places}/recipes/{name}:make", places / "recipes"))


@pytest.mark.parametrize(
    "folder", [".venv/lib/python3.12/site-packages", "lib/python3.12", "venv/lib64/python3.12", "usr/lib/python3/dist-packages"]
)
def test_installed_code_is_nobodys_own(folder: str, places: Path) -> None:
    inside = places / "working" / folder
    inside.mkdir(parents=True)
    (inside / "tool.py").write_text("def run(**options): ...\n")
    with pytest.raises(UsageError, match="names code in"):
        load_recipe(recipe_that_names(f"{folder}/tool.py:run", places / "recipes"))


def test_pythons_own_modules_are_nobodys_own(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stdlib = Path(sysconfig.get_path("stdlib"))
    path = recipe_that_names(f"{stdlib}/subprocess.py:call", places / "recipes", FIELDS["model.name"])
    for folder in ("/", stdlib, stdlib.parent):
        monkeypatch.chdir(folder)
        with pytest.raises(UsageError, match="names code in"):
            load_recipe(path)


def test_a_base_is_held_to_its_own_folder(places: Path) -> None:
    recipe_that_names(f"{places}/elsewhere/mine.py:make", places / "elsewhere")
    above = places / "recipes" / "mine.yaml"
    above.write_text("base: ../elsewhere/recipe.yaml\n")
    load_recipe(above)
    above.write_text(f"base: ../elsewhere/recipe.yaml\nmodel: {{name: '{places}/elsewhere/mine.py:make'}}\n")
    with pytest.raises(UsageError, match=r"mine.yaml: model.name names code in"):
        load_recipe(above)
    recipe_that_names(f"{places}/recipes/mine.py:make", places / "elsewhere")
    above.write_text("base: ../elsewhere/recipe.yaml\n")
    with pytest.raises(UsageError, match=r"recipe.yaml: task names code in"):
        load_recipe(above)
    above.write_text("base: ../elsewhere/recipe.yaml\ntask: classification\n")
    assert load_recipe(above).task == "classification"


@pytest.mark.parametrize("option", ["checkpoint_path: x.pth", "pretrained_cfg: {file: x.pth}", "cache_dir: /x"])
def test_a_recipe_makes_no_other_library_open_files(option: str, places: Path) -> None:
    path = places / "recipes" / "recipe.yaml"
    path.write_text(f"model: {{name: timm/resnet18, options: {{{option}}}}}\n")
    with pytest.raises(UsageError, match=r"lets another library open a file: give it by hand, --model.options"):
        load_recipe(path)
    name = option.partition(":")[0]
    assert load_recipe(path, {f"model.options.{name}": "mine"}).model.options == {name: "mine"}


def test_the_recipe_of_a_run_is_a_recipe(places: Path) -> None:
    run = RunFolder(places / "recipes")
    recipe = override(load_recipe("digits"), {"task": f"{places}/elsewhere/mine.py:make"})
    run.begin(recipe, {})
    assert run.recipe() == recipe
    with pytest.raises(UsageError, match="task names code in"):
        resumed_run(run.path, None)
    assert resumed_run(run.path, recipe)[1] == recipe
    with senet.allow_code(places / "elsewhere"):
        assert resumed_run(run.path, None)[1] == recipe


@pytest.mark.parametrize("command", [["train"], ["compare"], ["train", "--resume"]], ids=" ".join)
def test_commands_refuse_and_say_what_they_run(
    command: list[str], places: Path, refused: Callable[..., str], capsys: pytest.CaptureFixture
) -> None:
    path = recipe_that_names(f"{places}/elsewhere/mine.py:make", places / "recipes")
    target = path.parent if "--resume" in command else path
    out = ["--out", places / "runs"] if "--resume" not in command else []
    assert "--allow-code" in refused(*command, target, *out)
    assert not (places / "ran").exists()
    assert main([str(word) for word in (*command, target, *out, "--allow-code", places / "elsewhere")]) != 0  # its task is no task
    assert f"runs {places}/elsewhere/mine.py (task of the recipe)\n" in capsys.readouterr().err
    assert (places / "ran").exists()
    assert not (places / "runs").exists()


def test_what_is_allowed_is_there(places: Path, refused: Callable[..., str]) -> None:
    assert "--allow-code: there is no file or folder 'nowhere'" in refused("train", "digits", "--allow-code", "nowhere")


def test_a_factory_gets_the_options_that_it_declares(places: Path) -> None:
    (places / "working" / "net.py").write_text(
        "def make(num_classes=2, width=8, *, depth=1, **others): ...\ndef bare(num_classes=2, width=8): ...\n"
    )
    with pytest.raises(UsageError, match=r"bare does not take these options: 'widht' \(did you mean 'width'\?\); it declares: num_classes"):
        senet.create_model("net.py:bare", widht=3)
    with pytest.raises(UsageError, match="returns NoneType"):
        senet.create_model("net.py:make", widht=3)


def test_an_own_folder_with_a_link_to_itself_is_its_own(places: Path) -> None:
    (places / "short").symlink_to(places / "recipes")
    load_recipe(recipe_that_names(f"{places}/short/mine.py:make", places / "short"))
    assert os.path.realpath(places / "short") == str(places / "recipes")
