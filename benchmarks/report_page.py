"""The page of `mixzoo report`: bytes, seconds to build it, and what a browser makes of it.

python benchmarks/report_page.py RUN... [--out FOLDER]

Writes report.html into the folder and, if Chromium is installed, screenshots at 1280 and 390 pixels, light and dark;
prints what the page asked for, what it wrote to the console, and the largest difference of width and window.
"""

import argparse
from pathlib import Path
from time import perf_counter

import mixzoo
from chromium import Chromium, found

WIDTHS = (1280, 390)  # pixels: a laptop, a phone


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("report_page"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)

    began = perf_counter()
    page = mixzoo.report(given.runs, out=given.out / "report.html")
    print(f"bytes     {len(page.html.encode()):,}")
    print(f"seconds   {perf_counter() - began:.2f}")
    for note in page.notes:
        print(f"note      {note}")
    if found() is None:
        print("browser   none is installed, so nothing was looked at")
        return
    with Chromium() as browser:
        opened = browser.open(given.out / "report.html")
        wider = 0
        for width in WIDTHS:
            for dark in (False, True):
                file = given.out / f"{width}-{'dark' if dark else 'light'}.png"
                print(f"picture   {opened.screenshot(file, width=width, dark=dark)}")
                wider = max(wider, opened.value("document.documentElement.scrollWidth") - width)
        print(f"wider     {wider} pixels than the window")
        print(f"curves    {opened.value('document.querySelectorAll(`.u-wrap`).length')}")
        print(f"requests  {opened.requests or 'none'}")
        print(f"console   {opened.messages or 'nothing'}")


if __name__ == "__main__":
    main()
