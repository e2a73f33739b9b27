"""What is done with the instances that a kill may leave."""

from __future__ import annotations

import itertools

import pytest

from maw.errors import MirrorRuns, NotOurs
from maw.mirror import plan
from maw.mirror.plan import Instance, Trio

NAME = "web"


def made(name: str, *, ready: bool = True, generation: int = 1, running: bool = False) -> Instance:
    state = plan.READY if ready else plan.LOADING
    config = {plan.MARK: NAME, plan.STATE: state, plan.GENERATION: str(generation)}
    return Instance(name, running, config)


def after(steps: tuple[plan.Step, ...], names: set[str]) -> set[str]:
    for step in steps:
        assert step.name in names
        names = names - {step.name}
        if step.kind == plan.RENAME:
            assert step.to not in names
            names = names | {step.to}
    return names


@pytest.mark.parametrize(
    ("current", "new", "old"), list(itertools.product([None, 1], [None, "loading", "ready"], [None, 1]))
)
def test_whatever_is_left_one_mirror_stays_and_nothing_else(
    current: int | None, new: str | None, old: int | None
) -> None:
    there = Trio(
        made(NAME) if current else None,
        made(NAME + plan.NEW, ready=new == "ready", generation=2) if new else None,
        made(NAME + plan.OLD) if old else None,
    )
    names = {one.name for one in (there.current, there.new, there.old) if one is not None}
    left = after(plan.settle(NAME, there), names)
    assert left == ({NAME} if current or old or new == "ready" else set())
    assert plan.settle(NAME, Trio(made(NAME) if left else None, None, None)) == ()


def test_at_every_moment_of_a_swap_a_whole_mirror_is_there_and_settling_keeps_one() -> None:
    there = Trio(made(NAME), made(NAME + plan.NEW, generation=2), None)
    steps = plan.swap(NAME, there)
    for count in range(len(steps) + 1):
        known = {one.name: one for one in (there.current, there.new) if one is not None}
        for step in steps[:count]:
            moved = known.pop(step.name)
            if step.kind == plan.RENAME:
                known[step.to] = Instance(step.to, False, moved.config)
        assert any(one.ready for one in known.values())
        left = Trio(known.get(NAME), known.get(NAME + plan.NEW), known.get(NAME + plan.OLD))
        assert after(plan.settle(NAME, left), set(known)) == {NAME}


def test_an_instance_of_somebody_else_is_never_touched() -> None:
    for name in (NAME, NAME + plan.NEW, NAME + plan.OLD):
        for config in ({}, {plan.MARK: "other"}):
            with pytest.raises(NotOurs):
                plan.trio([Instance(name, False, config)], NAME, "host")
    assert plan.trio([Instance("else", False, {})], NAME, "host") == Trio(None, None, None)


def test_a_running_mirror_is_not_replaced() -> None:
    with pytest.raises(MirrorRuns):
        plan.refuse_running(NAME, Trio(made(NAME, running=True), None, None), "host")
    plan.refuse_running(NAME, Trio(made(NAME), None, None), "host")


def test_the_next_generation_counts_on_from_the_newest() -> None:
    assert Trio(made(NAME, generation=4), None, made(NAME + plan.OLD, generation=3)).generation == 4
    assert Trio(None, None, None).generation == 0
    assert Instance("x", False, {plan.GENERATION: "x"}).generation == 0
