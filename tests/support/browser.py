"""A real browser without a window, told what to do by its own protocol; one for all tests of a process."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # tests run as root, too
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
)


@dataclass
class Browser:
    """Chromium, by way of its driver."""

    driver: Any

    def look(self, path: Path, *, width: int, height: int, dark: bool = False) -> None:
        """Open a file on a screen of this size."""
        phone = width < 600
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.tell("Emulation.setDeviceMetricsOverride", screen)
        self.tell("Emulation.setEmulatedMedia", {"features": scheme})
        self.driver.get(path.as_uri())

    def tell(self, command: str, arguments: dict[str, Any]) -> Any:
        """One command of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(command, arguments)

    def ask(self, script: str, *arguments: Any) -> Any:
        """What a function's body returns in the page; the page's own policy does not apply to it."""
        return self.driver.execute_script(script, *arguments)

    def axe(self, source: str) -> list[str]:
        """What axe-core finds wrong, one line each."""
        self.ask(source)
        found = self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            "axe.run(document, {resultTypes: ['violations']})"
            ".then(found => done(found.violations), problem => done(String(problem)))"
        )
        assert isinstance(found, list), found
        return [f"{each['id']}: {each['help']}: {node['html'][:200]}" for each in found for node in each["nodes"][:3]]

    def pdf(self) -> bytes:
        """The page as it is printed."""
        answer = self.tell("Page.printToPDF", {"preferCSSPageSize": True, "printBackground": False})
        return base64.b64decode(answer["data"])

    def requests(self) -> list[str]:
        """Every address that was asked for since this was last called."""
        messages = [json.loads(each["message"])["message"] for each in self.driver.get_log("performance")]
        return [each["params"]["request"]["url"] for each in messages if each["method"] == "Network.requestWillBeSent"]

    def complaints(self) -> list[str]:
        """What stands in the console since this was last called: a policy that was broken, above all."""
        return [each["message"] for each in self.driver.get_log("browser")]


@contextmanager
def chromium(require_program: Callable[[str], str]) -> Iterator[Browser]:
    """A browser."""
    program, service = require_program("chromium"), require_program("chromedriver")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in _FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(service))
    try:
        yield Browser(driver)
    finally:
        driver.quit()


def axe_source() -> Path | None:
    """axe-core, where ``ci/test`` puts it, or where the environment says."""
    places = [
        os.environ.get("AXE_CORE", ""),
        *map(str, Path(__file__).parents[2].glob(".venv*/emulators/node_modules/axe-core/axe.min.js")),
    ]
    return next((Path(place) for place in places if place and Path(place).is_file()), None)
