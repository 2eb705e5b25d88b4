"""A headless Chromium, and a report opened in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from browsing import emulate, resize
from hand_made import ENVIRONMENT, failed, make_record, timed
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.chrome.webdriver import WebDriver

from atlasbench.core.record import Record, Status
from atlasbench.report.page.assemble import assemble_page

FLAGS = (
    "--headless=new",
    "--no-sandbox",  # root, as in containers
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
REQUIRED = "ATLASBENCH_REQUIRE_BROWSER"  # set where a missing browser is a failure
GPU = replace(ENVIRONMENT, device="NVIDIA H200", driver="580.65", machine="node7", device_memory_bytes=150_000_000_000)


def make_records() -> list[Record]:
    """Two machines, several models and sizes, one failure."""
    records = [
        make_record(
            model,
            size,
            environment=environment,
            device=device,
            scale_drop=drop if model == "atlas_b" else "",
            measurement=replace(
                timed(seconds * (size / 512) ** power, flops=round(2e11 * seconds * (size / 512) ** power)),
                notes=(f"padded to {size + 64} px", f"{model} is made for {size} px"),
            ),
            family=model.partition("_")[0],
        )
        for environment, device in ((ENVIRONMENT, "cpu"), (GPU, "cuda:0"))
        for model, power, seconds in (("vit_b", 3.5, 1.5), ("atlas_b", 2.2, 2.0), ("convnext_b", 2.0, 1.0))
        for size, drop in ((512, "2-10"), (1024, "2-10"), (2048, "2-2-8"), (4096, "2-2-8"))
    ]
    return [*records, make_record("swin_b", 4096, measurement=failed(Status.OOM, "predicted 90 GB, 24 GB are free"))]


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(
        assemble_page(make_records(), title="Backbones", omissions=["1 unreadable line."]), encoding="utf-8"
    )
    return path


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    chromedriver = shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        missing = "Chromium or its driver is not installed"
        if os.environ.get(REQUIRED):
            pytest.fail(missing)
        pytest.skip(missing)
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(chromedriver))
    yield driver
    driver.quit()


@pytest.fixture
def browser(driver: WebDriver, page: Path) -> WebDriver:
    """The report, freshly opened in a light window of 1280 x 900."""
    emulate(driver, scheme="light")
    resize(driver, 1280, 900)
    for kind in ("browser", "performance"):
        driver.get_log(kind)  # type: ignore[no-untyped-call]
    driver.get(page.as_uri())
    return driver
