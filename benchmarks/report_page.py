"""The page of `mixzoo report`: bytes, seconds to build it, and what a browser makes of it.

python benchmarks/report_page.py RUN... [--out FOLDER]

Writes report.html into the folder and, if Chromium is installed, screenshots at 1280 and 390 pixels, light and dark;
prints what the page asked for, what it wrote to the console, by how much it is wider than the window, and whether the
decoded picture follows when the point of the first mixing explorer is dragged.
"""

import argparse
from pathlib import Path
from time import perf_counter

import mixzoo
from chromium import Chromium, Page, found

WIDTHS = (1280, 390)  # pixels: a laptop, a phone


def dragged(page: Page) -> tuple[str, str]:
    """The picture of the first explorer, as text, before and after its point is dragged from the middle to a corner."""
    page.look(width=WIDTHS[0])
    simplex = "document.querySelector('.explore-simplex')"
    page.value(f"{simplex}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
    shape = f"(r => [r.x + r.width / 2, r.y + r.height / 2])({simplex}.getBoundingClientRect())"
    picture = "document.querySelector('.explore-mixed').toDataURL()"
    (x, y), before = page.value(shape), page.value(picture)
    page.drag((x, y), (x, y - 40), (x, y - 90))
    page.look(width=WIDTHS[0])
    return before, page.value(picture)


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
        if opened.value("document.querySelector('.explore-simplex') !== null"):
            before, after = dragged(opened)
            speed = opened.value("document.querySelector('.explore-speed').textContent")
            print(f"drag      {'changes' if before != after else 'DOES NOT CHANGE'} the picture; {speed}")
        print(f"requests  {opened.requests or 'none'}")
        print(f"console   {opened.messages or 'nothing'}")


if __name__ == "__main__":
    main()
