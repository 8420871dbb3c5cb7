"""One planted mistake, and the test that must notice it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutation:
    """One small change of the code. `before` stands once in the file, and `after` is written in its place; `test` is a pytest node id: a test with several cases notices it in one of them."""

    name: str
    file: str
    before: str
    after: str
    test: str
