from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.network.namespaces import Lab, missing


@pytest.fixture
def lab() -> Iterator[Lab]:
    if missing():
        pytest.skip(missing())
    with Lab() as made:
        yield made
