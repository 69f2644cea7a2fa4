"""Make a picture of a report, for the README: `python docs/picture.py runs/compare-digits/report.html docs/report.png`.

It needs Chromium; Playwright comes with the development dependencies.
"""

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
OFFLINE = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


def take_picture(page: Path, picture: Path, *, width: int, until: str | None, dark: bool) -> None:
    """Write a PNG of a page in a window of this width, from its top to the end of section `until` (None = all of it)."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OFFLINE)
        tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light")
        tab.goto(page.resolve().as_uri())
        last = f"section#{until}" if until else "body"
        height = tab.evaluate("last => document.querySelector(last).getBoundingClientRect().bottom", last) + (24 if until else 0)
        tab.screenshot(path=picture, full_page=True, clip={"x": 0, "y": 0, "width": width, "height": height})
        browser.close()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path, help="report.html of a comparison")
    parser.add_argument("picture", type=Path, help="PNG to write")
    parser.add_argument("--width", type=int, default=1280, help="width of the window in pixels; 390 is a phone")
    parser.add_argument("--until", choices=["results", "learning", "excitation", "cost", "setup"], help="last section to show")
    parser.add_argument("--dark", action="store_true", help="the dark scheme")
    args = parser.parse_args()
    take_picture(args.page, args.picture, width=args.width, until=args.until, dark=args.dark)


if __name__ == "__main__":
    main()
