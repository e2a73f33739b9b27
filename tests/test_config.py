"""Settings from file and environment, and where a workspace is."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

import pytest

from maw.config import Settings, Workspace, default_text, find_workspace, load
from maw.errors import ConfigError, InvalidSetting, UnknownSetting

SETTINGS = [
    (section.name, item)
    for section in dataclasses.fields(Settings)
    for item in dataclasses.fields(section.default_factory)  # type: ignore[arg-type]
]
NAMES = [f"{section}.{item.name}" for section, item in SETTINGS]
each = pytest.mark.parametrize(("section", "item"), SETTINGS, ids=NAMES)


def _file(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "maw.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


def _other(item: dataclasses.Field) -> str | int | float:
    """A value that is allowed and not the default."""
    return "another ค่า" if isinstance(item.default, str) else item.default + 3


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _value(settings: Settings, section: str, name: str) -> object:
    return getattr(getattr(settings, section), name)


def test_without_a_file_everything_has_its_default(tmp_path: Path) -> None:
    assert load(tmp_path / "missing.toml", {}) == Settings()


@each
def test_the_file_overrides_the_default(tmp_path: Path, section: str, item: dataclasses.Field) -> None:
    path = _file(tmp_path, f"[{section}]\n{item.name} = {_toml(_other(item))}\n")
    settings = load(path, {})
    assert _value(settings, section, item.name) == _other(item)
    assert type(_value(settings, section, item.name)) is type(item.default)
    changed = dataclasses.replace(getattr(Settings(), section), **{item.name: _other(item)})
    assert settings == dataclasses.replace(Settings(), **{section: changed}), "and nothing else"


@each
def test_the_environment_overrides_the_file(tmp_path: Path, section: str, item: dataclasses.Field) -> None:
    path = _file(tmp_path, f"[{section}]\n{item.name} = {_toml(item.default)}\n")
    environment = {f"MAW_{section}_{item.name}".upper(): str(_other(item)), "PATH": "/bin"}
    value = _value(load(path, environment), section, item.name)
    assert value == _other(item)
    assert type(value) is type(item.default)


@each
def test_a_value_of_the_wrong_type_is_refused_with_its_place(
    tmp_path: Path, section: str, item: dataclasses.Field
) -> None:
    wrong = (
        ["5", "true", "[1]", "1979-05-27"] if isinstance(item.default, str) else ['"5"', "true", "[1]", "{}"]
    )
    if isinstance(item.default, int):
        wrong.append("2.5")
    for value in wrong:
        path = _file(tmp_path, f"[{section}]\n{item.name} = {value}\n")
        with pytest.raises(InvalidSetting) as caught:
            load(path, {})
        assert str(caught.value).startswith(f"{path}: {section}.{item.name} must be ")


@each
def test_a_number_out_of_range_is_refused(tmp_path: Path, section: str, item: dataclasses.Field) -> None:
    if isinstance(item.default, str):
        return
    low = str(item.metadata["minimum"] - 1)
    for value in [low, "nan", "inf", "-inf"] if isinstance(item.default, float) else [low]:
        variable = f"MAW_{section}_{item.name}".upper()
        with pytest.raises(InvalidSetting, match=re.escape(f"of at least {item.metadata['minimum']}")):
            load(_file(tmp_path, f"[{section}]\n{item.name} = {value}\n"), {})
        with pytest.raises(InvalidSetting, match=variable):
            load(_file(tmp_path, ""), {variable: value})
    minimum = _file(tmp_path, f"[{section}]\n{item.name} = {item.metadata['minimum']}\n")
    assert _value(load(minimum, {}), section, item.name) == item.metadata["minimum"]


@pytest.mark.parametrize("value", ["", "five", "1e999", "2.5", "0x10", "5 s", "NaN", "9" * 5000])
def test_a_word_in_the_environment_that_is_no_whole_number_is_refused(value: str) -> None:
    with pytest.raises(InvalidSetting, match="MAW_PIPELINE_SENTENCES must be a whole number"):
        load(Path("missing"), {"MAW_PIPELINE_SENTENCES": value})


@pytest.mark.parametrize("value", ["1" + "0" * 400, "1" + "0" * 5000, "1e999"])
def test_a_number_larger_than_any_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError):
        load(_file(tmp_path, f"[offload]\njob_timeout = {value}\n"), {})


def test_a_setting_that_is_not_there_is_named_with_the_nearest(tmp_path: Path) -> None:
    path = _file(tmp_path, "[ssh]\nconect_second = 3\n")
    with pytest.raises(UnknownSetting) as caught:
        load(path, {})
    assert "no setting ssh.conect_second. Did you mean ssh.connect_seconds?" in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_section_that_is_not_there_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownSetting, match=r"no setting \[ofload\]\. Did you mean \[offload\]\?"):
        load(_file(tmp_path, "[ofload]\nlease = 9\n"), {})


def test_a_variable_that_is_not_there_is_named_with_the_nearest() -> None:
    with pytest.raises(
        UnknownSetting, match=r"MAW_SSH_CONECT_SECONDS\. Did you mean MAW_SSH_CONNECT_SECONDS"
    ):
        load(Path("missing"), {"MAW_SSH_CONECT_SECONDS": "5"})


def test_the_variables_that_are_no_settings_are_let_pass() -> None:
    assert load(Path("missing"), {"MAW_WORKSPACE": "/w", "MAW_RUN": "0123", "MAWX": "1"}) == Settings()


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAW_PIPELINE_SENTENCES", "9")
    assert load(Path("missing")).pipeline.sentences == 9


@pytest.mark.parametrize("text", ["ssh = 5\n", "[[ssh]]\nlease = 1\n", "sentences = 5\n"])
def test_a_value_where_a_section_belongs_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(_file(tmp_path, text), {})
    said = re.findall(r"no setting (\S+)\. Did you mean (\S+)\?", str(caught.value))
    assert all(name != nearest for name, nearest in said), str(caught.value)


@pytest.mark.parametrize(
    "text", ["[ssh\n", "a", "= 1", "[ssh]\nx = 1\nx = 2\n", "\x00", "a = " + "[" * 5000, "a = " + "9" * 5000]
)
def test_what_is_not_toml_is_said_so(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="is not TOML") as caught:
        load(_file(tmp_path, text), {})
    assert str(tmp_path / "maw.toml") in str(caught.value)


def test_what_is_not_utf8_is_said_so_with_the_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not UTF-8 at byte 8"):
        load(_file(tmp_path, b"[ssh]\n# \xff\n"), {})


def test_a_folder_in_place_of_the_file_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Is a directory"):
        load(tmp_path, {})


def test_the_text_with_all_settings_reads_as_the_defaults(tmp_path: Path) -> None:
    text = default_text()
    assert load(_file(tmp_path, text), {}) == Settings()
    uncommented = re.sub(r"(?m)^# (\w+ = )", r"\1", text)
    assert load(_file(tmp_path, uncommented), {}) == Settings()
    assert [line.split()[0] for line in uncommented.splitlines() if " = " in line] == [
        item.name for _, item in SETTINGS
    ]
    assert all(item.metadata["help"] in text for _, item in SETTINGS)


def test_every_setting_can_be_uncommented_alone_and_changed(tmp_path: Path) -> None:
    for section, item in SETTINGS:
        pattern = rf"(?m)^# {item.name} = .*?(  #)"
        text = re.sub(
            pattern, lambda m, item=item: f"{item.name} = {_toml(_other(item))}{m.group(1)}", default_text()
        )
        assert _value(load(_file(tmp_path, text), {}), section, item.name) == _other(item)


def test_the_named_workspace_comes_first(tmp_path: Path) -> None:
    (tmp_path / "maw.toml").write_text("")
    assert find_workspace({"MAW_WORKSPACE": "/named"}, tmp_path).root == Path("/named")
    assert find_workspace({"MAW_WORKSPACE": "near"}, tmp_path).root == tmp_path / "near"
    assert find_workspace({"MAW_WORKSPACE": "~/w"}, tmp_path).root == Path(os.environ["HOME"]) / "w"
    assert find_workspace({"MAW_WORKSPACE": ""}, tmp_path).root == tmp_path


def test_the_nearest_folder_upwards_with_settings_comes_second(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b" / "c"
    deep.mkdir(parents=True)
    (tmp_path / "maw.toml").write_text("")
    assert find_workspace({}, deep).root == tmp_path
    (tmp_path / "a" / "maw.toml").write_text("")
    assert find_workspace({}, deep).root == tmp_path / "a"
    (deep / "maw.toml").mkdir()
    assert find_workspace({}, deep).root == tmp_path / "a", "a folder of that name is no file"


def test_the_own_workspace_of_the_user_comes_last(tmp_path: Path) -> None:
    assert find_workspace({"XDG_DATA_HOME": "/data"}, tmp_path).root == Path("/data/maw")
    for environment in ({}, {"XDG_DATA_HOME": ""}):
        assert find_workspace(environment, tmp_path).root == Path(os.environ["HOME"]) / ".local/share/maw"


def test_a_workspace_knows_its_places() -> None:
    space = Workspace(Path("/w"))
    places = [space.config_file, space.inventory, space.soul, space.known_hosts, space.state]
    assert [str(place) for place in places] == [
        "/w/maw.toml",
        "/w/inventory",
        "/w/ψ",
        "/w/known_hosts",
        "/w/.maw",
    ]
