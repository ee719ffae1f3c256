"""How a page looks and whether everybody can use it: widths, axe's rules, pictures on request.

`SCREENSHOTS=1 make test` keeps a picture of every state in test-results/screenshots.
"""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from playwright.async_api import Page, ViewportSize

from tests.browser.operator import WIDE

SCREENSHOTS = Path(__file__).parents[2] / "test-results" / "screenshots"
NARROW: ViewportSize = {"width": 360, "height": 780}
FORMS: Mapping[str, ViewportSize] = {"wide": WIDE, "narrow": NARROW}

_AXE = (Path(__file__).with_name("axe") / "axe.min.js").read_text()
_RUN = """
    axe.run({exclude: %s}, {resultTypes: ["violations"]}).then(found => ({
        checked: found.passes.length,
        violations: found.violations.map(one => ({
            rule: one.id,
            help: one.help,
            places: one.nodes.slice(0, 5).map(node => `${node.target} ${node.failureSummary}`),
        })),
    }))
"""
_SETTLE = """
    async () => {
        const finite = () => document.getAnimations().filter(
            one => one.effect.getComputedTiming().endTime !== Infinity);
        do {
            await new Promise(requestAnimationFrame);
            finite().forEach(one => one.finish());
            await new Promise(requestAnimationFrame);
        } while (finite().length);
    }
"""
"""Ends the transitions that a change of width, theme or state began."""
_OVERHANG = """
    () => Math.max(
        document.documentElement.scrollWidth - document.documentElement.clientWidth,
        ...[...document.querySelectorAll(".table-frame:not(.plain) > table")].map(
            table => table.offsetWidth - table.parentElement.clientWidth))
"""
Scheme = Literal["light", "dark"]
_SCHEMES: tuple[Scheme, ...] = ("light", "dark")


async def examine(
    page: Page,
    name: str,
    *,
    forms: Collection[str] = tuple(FORMS),
    full: bool = False,
    documentation: bool = False,
) -> None:
    """Check a state of the page in both themes and at both widths.

    It fits its window, and axe finds no violation. The API documentation is the same everywhere and
    long: axe reads it where `documentation` is asked for.
    """
    for scheme in _SCHEMES:
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        for form in forms:
            if page.viewport_size != FORMS[form]:
                await page.set_viewport_size(FORMS[form])
            await photograph(page, f"{name}-{scheme}-{form}", full=full)
            await fits(page, f"{name}, {form}")
        if page.viewport_size != WIDE:
            await page.set_viewport_size(WIDE)
        violations = await violations_on(page, documentation=documentation)
        assert not violations, f"{name}, {scheme}: {violations}"


async def photograph(page: Page, name: str, *, full: bool = False) -> None:
    """Keep a picture, if pictures are wanted: painting one costs a second of a core."""
    if "SCREENSHOTS" in os.environ:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        await page.screenshot(path=path, full_page=full, animations="disabled")


async def fits(page: Page, what: str) -> None:
    """The page does not scroll sideways, and no table reaches over its frame."""
    await page.evaluate(_SETTLE)
    overhang = await page.evaluate(_OVERHANG)
    assert overhang <= 0, f"{what} is {overhang} px too wide"


async def violations_on(page: Page, *, documentation: bool) -> list[dict[str, Any]]:
    """What axe finds. It is put into the page by the debugger, so that the page's policy stays."""
    skipped = [] if documentation else ["#documentation"]
    debugger = await page.context.new_cdp_session(page)
    try:
        has_axe = await debugger.send("Runtime.evaluate", {"expression": "typeof axe"})
        if has_axe["result"]["value"] == "undefined":
            await debugger.send("Runtime.evaluate", {"expression": _AXE})
        answer = await debugger.send(
            "Runtime.evaluate",
            {"expression": _RUN % skipped, "awaitPromise": True, "returnByValue": True},
        )
    finally:
        await debugger.detach()
    assert "exceptionDetails" not in answer, answer
    result = answer["result"]["value"]
    assert result["checked"] > 10, "axe has looked at the page"
    found: list[dict[str, Any]] = result["violations"]
    return found
