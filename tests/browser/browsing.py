"""What a person does with the report, and what they see."""

from __future__ import annotations

from typing import Any

from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys


def command(driver: WebDriver, name: str, **parameters: Any) -> Any:
    """A command of the DevTools protocol."""
    return driver.execute_cdp_cmd(name, parameters)  # type: ignore[no-untyped-call]


def emulate(driver: WebDriver, *, scheme: str = "light", media: str = "") -> None:
    """Colour scheme and medium that the browser says it has; pages jump instead of scrolling smoothly."""
    features = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
    command(
        driver,
        "Emulation.setEmulatedMedia",
        media=media,
        features=[{"name": name, "value": value} for name, value in features.items()],
    )


def resize(driver: WebDriver, width: int, height: int) -> None:
    command(
        driver,
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=height,
        deviceScaleFactor=1,
        mobile=width < 600,
    )


def head(browser: WebDriver, title: str) -> Any:
    """The button that sorts a column of the table of the CPU's numbers."""
    (found,) = [
        button
        for button in browser.find_elements(By.CSS_SELECTOR, "#numbers-1 thead button")
        if button.text.startswith(title)
    ]
    return found


def column(browser: WebDriver, title: str) -> list[str]:
    """Cells of the rows that are shown."""
    cells: list[str] = browser.execute_script(
        """
        const table = document.getElementById('numbers-1');
        const index = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent.startsWith(arguments[0]));
        return [...table.tBodies[0].rows].filter((row) => row.checkVisibility())
          .map((row) => row.cells[index].textContent);
        """,
        title,
    )
    return cells


def numbers(cells: list[str]) -> list[float]:
    return [float(cell.replace(",", "")) for cell in cells]


def sort_state(browser: WebDriver) -> dict[str, str]:
    """`aria-sort` of every head that has it."""
    found = browser.execute_script(
        """
        return [...document.querySelectorAll('#numbers-1 thead th[aria-sort]')]
          .map((head) => [head.querySelector('button').firstChild.textContent, head.getAttribute('aria-sort')]);
        """
    )
    return dict(found)


def tab(browser: WebDriver) -> None:
    focused(browser).send_keys(Keys.TAB)


def focused(browser: WebDriver) -> Any:
    return browser.switch_to.active_element


def outline(browser: WebDriver) -> str:
    style: str = browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
    return style
