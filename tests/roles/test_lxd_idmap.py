"""The ids that containers get: root's line in /etc/subuid and /etc/subgid."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.roles.loading import load

_PLUGINS = Path(__file__).resolve().parents[2] / "roles" / "lxd" / "filter_plugins"
WHOLE = [[0, 0, 4294967295]]
NESTED = [[0, 100000, 10000001]]
SIZE = 1_000_000_000


plugin = load(_PLUGINS / "lxd_idmap.py")
names = st.sampled_from(["you", "root", "0", "lxd", "สมชาย"])
entries = st.builds(
    lambda name, first, count: f"{name}:{first}:{count}",
    names,
    st.integers(0, 12_000_000),
    st.integers(0, 12_000_000),
)
lines = st.one_of(entries, st.sampled_from(["", "# a comment", "broken", "you:x:1", "a:b:c:d"]))
texts = st.builds(
    lambda parts, end: "\n".join(parts) + end, st.lists(lines, max_size=6), st.sampled_from(["", "\n"])
)
maps = st.sampled_from(
    [WHOLE, NESTED, [[0, 1000, 65536]], [[0, 100000, 200000]], [[0, 0, 65536], [70000, 9, 3000000]]]
)


def _range(line: str) -> tuple[int, int]:
    first, count = (int(word) for word in line.split(":")[1:])
    return first, first + count


@given(texts, maps, st.integers(65536, 10**9), st.booleans())
def test_other_lines_stay_and_the_new_one_fits_and_meets_none(
    text: str, mapped: list[list[int]], size: int, in_use: bool
) -> None:
    answer = plugin.idmap(text, mapped, size, in_use)
    if not answer["added"]:
        assert answer["text"] == text
        assert answer["why"] or answer["problem"]
        return
    assert not in_use
    before, after = text.splitlines(), answer["text"].splitlines()
    assert [line for line in after if line != answer["added"]] == [
        line for line in before if line not in answer["dropped"]
    ]
    assert all(line.split(":")[0] in ("root", "0") for line in answer["dropped"])
    first, end = _range(answer["added"])
    assert 65536 <= end - first <= size
    assert any(inside <= first and end <= inside + count for inside, _, count in mapped)
    for line in after:
        if line != answer["added"] and plugin._range(line) and not line.startswith("lxd:"):
            low, high = _range(line)
            assert high <= first or end <= low or low == high


@given(texts, maps, st.integers(65536, 10**9))
def test_a_second_time_nothing_changes(text: str, mapped: list[list[int]], size: int) -> None:
    once = plugin.idmap(text, mapped, size, False)
    if once["added"]:
        twice = plugin.idmap(once["text"], mapped, size, False)
        assert (twice["added"], twice["text"]) == ("", once["text"])


@given(texts, maps, st.integers(65536, 10**9))
def test_taken_back_it_is_as_before_byte_for_byte(text: str, mapped: list[list[int]], size: int) -> None:
    made = plugin.idmap(text, mapped, size, False)
    assert plugin.undone(made["text"], made, text) == text


@given(texts, maps, st.integers(65536, 10**9), st.lists(entries, max_size=3))
def test_what_others_have_written_since_stays(
    text: str, mapped: list[list[int]], size: int, more: list[str]
) -> None:
    made = plugin.idmap(text, mapped, size, False)
    if made["added"] and made["added"] not in more:
        end = "" if made["text"].endswith("\n") else "\n"
        later = made["text"] + end + "".join(f"{line}\n" for line in more)
        left = plugin.undone(later, made, text)
        assert sorted(left.splitlines()) == sorted(text.splitlines() + more)


def test_a_bare_machine_gets_what_lxd_itself_would_take() -> None:
    assert plugin.idmap("", WHOLE, SIZE, False)["text"] == "root:1000000:1000000000\n"
    text = "you:100000:65536"
    assert plugin.idmap(text, WHOLE, SIZE, False)["text"] == f"{text}\nroot:1000000:1000000000\n"


def test_a_line_of_roots_that_works_is_left_alone() -> None:
    for line in ("root:100000:65536\n", "root:1000000:8000000\n", "0:1000000:65536\n"):
        assert plugin.idmap(line, NESTED, SIZE, False)["added"] == ""


def test_a_line_too_small_for_lxd_stays_beside_a_new_one() -> None:
    answer = plugin.idmap("root:200000:1000\n", WHOLE, SIZE, False)
    assert answer["text"] == "root:200000:1000\nroot:1000000:1000000000\n"


def test_debians_line_that_does_not_fit_a_container_is_replaced_where_it_stood() -> None:
    answer = plugin.idmap("you:1:2\nroot:100000:10000001\nlxd:3:4\n", NESTED, SIZE, False)
    assert answer["text"] == "you:1:2\nroot:1000000:9000001\nlxd:3:4\n"
    assert answer["dropped"] == ["root:100000:10000001"]


def test_debians_second_line_for_lxds_own_account_is_no_clash_with_roots() -> None:
    answer = plugin.idmap("root:100000:10000001\n_lxd:100000:10000001\n", NESTED, SIZE, False)
    assert answer["text"] == "root:1000000:9000001\n_lxd:100000:10000001\n"


def test_ids_are_not_changed_under_instances() -> None:
    assert plugin.idmap("", WHOLE, SIZE, True)["added"] == ""
    answer = plugin.idmap("root:100000:10000001\n", NESTED, SIZE, True)
    assert "by hand" in answer["problem"]


def test_a_container_with_too_few_ids_is_told_where_to_get_more() -> None:
    answer = plugin.idmap("", [[0, 1000000, 65536]], SIZE, False)
    assert "65536 ids" in answer["problem"]
    assert "on its host" in answer["problem"]
