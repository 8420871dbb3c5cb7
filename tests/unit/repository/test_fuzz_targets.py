"""Every fuzz target over its corpus and over some thousand changes of it: the short form of `make fuzz`."""

import random
from collections.abc import Iterator

import pytest

from tests.fuzz.targets import CORPUS, TARGETS, seeds
from tests.fuzz.wire_targets import BODIES


CHANGES = 300


def changed(name: str) -> Iterator[bytes]:
    """The seeds of a target, cut, doubled, crossed and with some bytes replaced; the same ones at each run."""
    draw, every = random.Random(name), seeds(name)
    for _ in range(CHANGES):
        one, other = bytearray(draw.choice(every)), draw.choice(every)
        for _ in range(draw.randint(1, 4)):
            place = draw.randint(0, len(one))
            match draw.randint(0, 3):
                case 0:
                    del one[place : place + draw.randint(1, 8)]
                case 1:
                    one[place:place] = other[draw.randint(0, len(other)) :][:200]
                case 2:
                    one[place : place + 1] = bytes([draw.randint(0, 255)])
                case _:
                    one[place:place] = one[place : place + 16] * 2
        yield bytes(one)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_holds_over_its_corpus_and_changes_of_it(name: str) -> None:
    for each in (*seeds(name), *changed(name)):
        TARGETS[name](each)


def test_every_target_has_a_corpus_and_every_corpus_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
    assert min(len(seeds(name)) for name in TARGETS) >= 3


def test_every_body_of_a_route_or_frame_is_in_the_corpus() -> None:
    assert {seed.partition(b"\n")[0].decode() for seed in seeds("body")} == set(BODIES)
