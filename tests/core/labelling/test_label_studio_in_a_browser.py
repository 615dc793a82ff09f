"""The way a person takes: the real Label Studio in Chromium."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.labelled_frames import content

from ovps_core.cli import main
from ovps_core.labelling.project import interface, recorded_project
from ovps_core.labelling.server import find_server


@pytest.fixture
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="Selenium is not installed")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("chromium or chromedriver is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1400,900"):
        options.add_argument(word)
    opened = webdriver.Chrome(options, webdriver.ChromeService(driver))
    opened.implicitly_wait(60)
    yield opened
    opened.quit()


_COUNT_OF_COLOUR = """
let count = 0;
for (const canvas of document.querySelectorAll("canvas")) {
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  for (let i = 0; i < data.length; i += 4)
    count += [0, 1, 2].every(c => Math.abs(data[i + c] - arguments[0][c]) < 4) && data[i + 3] > 0;
}
return count"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_person_sees_the_suggestions_in_a_browser_and_submits_them(
    served: Path, frames: Path, browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    for name in ("LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    where = ["--data-dir", str(served)]
    assert main(["label", "open", str(frames), *where]) == 0
    server = find_server(None, None, served)
    browser.get(f"{server.url}/user/login")
    browser.find_element("name", "email").send_keys(server.user)
    browser.find_element("name", "password").send_keys(server.password)
    browser.find_element("css selector", "button[type=submit]").click()
    project = recorded_project(frames, server)
    assert project is not None
    browser.get(project.page)
    browser.find_element("xpath", "//button[contains(., 'Label All Tasks')]").click()
    submit = browser.find_element("xpath", "//button[contains(., 'Submit')]")
    wheel = re.findall(r"#([0-9a-f]{6})", interface(["valve wheel", "valve stem"]))[0]
    for _ in range(60):
        time.sleep(1)
        if browser.execute_script(_COUNT_OF_COLOUR, list(bytes.fromhex(wheel))) > 1000:
            break
    else:
        browser.save_screenshot(str(tmp_path / "label_studio.png"))
        pytest.fail(f"no suggestion is drawn in the colour of its label: {tmp_path}")
    submit.click()
    time.sleep(5)
    assert main(["label", "save", str(frames), *where]) == 0
    origins = [a["origin"] for a in content(frames)["annotations"] if "origin" in a]
    assert origins == ["model", "model"], "both masks of one picture"
