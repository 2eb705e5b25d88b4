"""The report as a person meets it: in a real browser, with mouse and keyboard, light and dark, on a phone, on paper."""

from __future__ import annotations

import base64
import json
import re

import pytest
from browsing import column, command, emulate, focused, head, numbers, outline, resize, sort_state, tab
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

pytestmark = pytest.mark.browser

A4_ACROSS = 1032  # CSS pixels between the margins: 273 mm
A4 = 702  # 186 mm
CONTRAST = """
const [selector] = arguments;
const read = (color) => color.match(/[\\d.]+/g).map(Number);
const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
const light = ([r, g, b]) => [r, g, b].map((v) => linear(v / 255))
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const color = read(getComputedStyle(at).backgroundColor);
    if (color.length === 3 || color[3] > 0) return color;
  }
};
return [...document.querySelectorAll(selector)].filter((element) => element.checkVisibility()).map((element) => {
  const [a, b] = [light(read(getComputedStyle(element).color)), light(behind(element))];
  return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), element.outerHTML.slice(0, 80)];
});
"""
WORDS = "h1, h2, h3, p, a, li, th, td, caption, figcaption, small, label, output, button, code, span, summary"


def test_nothing_is_fetched_and_nothing_goes_wrong(browser: WebDriver) -> None:
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]  # type: ignore[no-untyped-call]
    asked = [
        message["params"]["request"]["url"] for message in messages if message["method"] == "Network.requestWillBeSent"
    ]

    assert asked
    assert all(url.startswith(("file:", "data:")) for url in asked)
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_picture_is_decoded_and_belongs_to_the_scheme(browser: WebDriver, scheme: str) -> None:
    emulate(browser, scheme=scheme)
    look = """
    return [...document.images].map((image) =>
      [image.complete && image.naturalWidth > 0, image.currentSrc === image.getAttribute('src')]);
    """
    expected = [True, scheme == "light"]  # decoded, and the one for light pages

    WebDriverWait(browser, 10).until(lambda driver: all(found == expected for found in driver.execute_script(look)))
    assert len(browser.execute_script(look)) >= 4


def test_a_click_on_a_head_sorts_by_the_numbers_and_a_second_one_the_other_way(browser: WebDriver) -> None:
    before = column(browser, "GFLOPs/image")
    press = head(browser, "GFLOPs/image")

    press.click()
    rising = column(browser, "GFLOPs/image")
    assert sort_state(browser) == {"GFLOPs/image": "ascending"}
    press.click()
    falling = column(browser, "GFLOPs/image")
    assert sort_state(browser) == {"GFLOPs/image": "descending"}

    assert rising != before
    assert numbers(rising) == sorted(numbers(before))
    assert numbers(falling) == sorted(numbers(before), reverse=True)


def test_rows_without_a_number_stay_last_in_both_directions(browser: WebDriver) -> None:
    press = head(browser, "Images/s")
    for _ in range(2):
        press.click()
        assert column(browser, "Images/s")[-1] == "-"
        assert column(browser, "Model")[-1] == "swin_b"


def test_the_keyboard_alone_skips_to_the_content_and_sorts(browser: WebDriver) -> None:
    tab(browser)
    assert focused(browser).text == "Skip to the content"
    assert browser.execute_script("return document.activeElement.getBoundingClientRect().left") >= 0
    focused(browser).send_keys(Keys.ENTER)
    assert browser.execute_script("return location.hash") == "#content"

    browser.execute_script("document.getElementById('numbers-1-filter').focus()")
    names = []
    while "Model" not in names:
        assert len(names) < 5, names
        tab(browser)
        names.append(focused(browser).text.split("\n")[0].removesuffix("\N{NO-BREAK SPACE}").strip())
    before = column(browser, "Model")
    assert outline(browser) != "none"
    focused(browser).send_keys(Keys.ENTER)

    assert column(browser, "Model") == sorted(before) != before
    assert sort_state(browser) == {"Model": "ascending"}


def test_every_region_that_scrolls_can_be_reached_by_the_keyboard(browser: WebDriver) -> None:
    resize(browser, 360, 800)
    unreachable = """
    return [...document.querySelectorAll('body *')].filter((element) => {
      const scrolls = ['auto', 'scroll'].includes(getComputedStyle(element).overflowX);
      return scrolls && element.scrollWidth > element.clientWidth && element.tabIndex < 0;
    }).map((element) => element.outerHTML.slice(0, 100));
    """
    assert browser.execute_script(unreachable) == []
    assert browser.execute_script("return document.querySelector('.scroll').tabIndex") == 0


def test_the_filter_shows_rows_that_have_every_word_and_says_how_many(browser: WebDriver) -> None:
    search = browser.find_element(By.ID, "numbers-1-filter")
    output = browser.find_element(By.CSS_SELECTOR, "output[for='numbers-1-filter']")
    total = len(column(browser, "Model"))
    assert output.text == f"{total} rows"

    search.send_keys("ATLAS 4096")
    assert column(browser, "Model") == ["atlas_b"]
    assert output.text == f"1 of {total} rows"

    search.send_keys("nothing")
    assert column(browser, "Model") == []
    search.clear()
    search.send_keys(" ")
    assert len(column(browser, "Model")) == total


def test_a_copy_button_copies_its_command_and_says_so(browser: WebDriver) -> None:
    command(browser, "Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    cell = browser.find_element(By.CSS_SELECTOR, "#commands-1 tbody tr td:last-child")
    expected = cell.find_element(By.TAG_NAME, "code").text
    button = cell.find_element(By.TAG_NAME, "button")

    button.send_keys(Keys.ENTER)

    WebDriverWait(browser, 5).until(lambda _: button.text == "Copied")
    assert browser.find_element(By.ID, "announcer").get_attribute("textContent") == "Copied."
    copied = browser.execute_async_script(
        "navigator.clipboard.readText().then(arguments[0], (e) => arguments[0](String(e)))"
    )
    assert copied == expected
    assert expected.startswith("atlasbench profile ")


def test_every_picture_can_be_saved(browser: WebDriver) -> None:
    links = browser.find_elements(By.CSS_SELECTOR, "a.save")

    assert len(links) == len(browser.find_elements(By.TAG_NAME, "figure"))
    for link in links:
        assert link.is_displayed()
        assert re.fullmatch(r"[\w-]+\.svg", link.get_attribute("download") or "")
        _, _, content = (link.get_attribute("href") or "").partition("base64,")
        assert b"<svg" in base64.b64decode(content)[:300]


def test_light_and_dark_are_different_and_every_word_can_be_read(browser: WebDriver) -> None:
    grounds = {}
    browser.execute_script("for (const details of document.querySelectorAll('details')) details.open = true")
    for scheme in ("light", "dark"):
        emulate(browser, scheme=scheme)
        grounds[scheme] = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        found = browser.execute_script(CONTRAST, WORDS)
        assert len(found) > 300
        assert [item for item in found if item[0] < 4.5] == []

    assert grounds["light"] == "rgb(255, 255, 255)"
    assert sum(map(int, re.findall(r"\d+", grounds["dark"]))) < 120


@pytest.mark.parametrize("width", [360, 390, 768, 1280])
def test_the_page_is_never_wider_than_its_window(browser: WebDriver, width: int) -> None:
    resize(browser, width, 800)

    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [A4, A4_ACROSS])
def test_on_paper_nothing_is_wider_than_the_page_and_no_control_is_left(browser: WebDriver, width: int) -> None:
    emulate(browser, scheme="dark", media="print")
    resize(browser, width, 1000)

    across = "section.across" if width == A4_ACROSS else "section:not(.across)"
    wide = """
    return [...document.querySelectorAll(arguments[0] + ' *')].filter((element) =>
      element.getBoundingClientRect().right > arguments[1] + 1).map((element) => element.outerHTML.slice(0, 100));
    """
    assert browser.execute_script("return document.querySelectorAll(arguments[0]).length", across) > 0
    assert browser.execute_script(wide, across, width) == []
    controls = browser.find_elements(By.CSS_SELECTOR, ".copy, .filter, .save, .arrow, .skip")
    assert controls
    assert not any(control.is_displayed() for control in controls)
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_it_prints_on_several_pages_with_everything_unfolded(browser: WebDriver) -> None:
    folded = "return [...document.querySelectorAll('details')].map((item) => item.open)"
    assert False in browser.execute_script(folded)

    printed = command(browser, "Page.printToPDF", preferCSSPageSize=True, printBackground=True)

    pdf = base64.b64decode(printed["data"])
    assert pdf.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) > 1
    assert False not in browser.execute_script(folded)


def test_without_scripts_everything_is_there_and_no_dead_control_is_shown(browser: WebDriver) -> None:
    command(browser, "Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.refresh()
        shown = browser.find_elements(By.CSS_SELECTOR, "button, input, a.save")
        assert not any(element.is_displayed() for element in shown)
        assert browser.find_element(By.CSS_SELECTOR, "#commands-1 code").is_displayed()
        assert browser.find_element(By.CSS_SELECTOR, "figure img").is_displayed()
    finally:
        command(browser, "Emulation.setScriptExecutionDisabled", value=False)
