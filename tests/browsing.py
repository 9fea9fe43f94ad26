"""A headless browser, and what a page must be to be read: for tests and benchmarks/report.py."""

from __future__ import annotations

import os
import shutil
from typing import Any

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]


def find_chromium() -> str | None:
    """The program, None where there is none; the variable CHROMIUM may name it."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


def launch(driver: Any, program: str) -> Any:
    """A browser that asks nobody for anything but what its pages want."""
    return driver.chromium.launch(executable_path=program, args=FLAGS)


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, from 1 to 21, WCAG 2.2."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    """Relative luminance in [0, 1], WCAG 2.2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
