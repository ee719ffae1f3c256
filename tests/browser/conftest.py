"""Who sits at the browser; each module says on which ring."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser

from tests.browser.operator import Operator
from tests.system.ring import Ring


@pytest.fixture
async def visitor(browser: Browser, ring: Ring) -> AsyncIterator[Operator]:
    """Somebody who is not signed in."""
    async with Operator.at(browser, ring.url()) as visitor:
        yield visitor


@pytest.fixture
async def operator(visitor: Operator, ring: Ring) -> Operator:
    """Signed in, on the page with the sessions."""
    await visitor.sign_in(ring.admin_key)
    return visitor
