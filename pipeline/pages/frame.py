"""The frame of a page that needs nothing else: no network, no script, no clock, and a limit to its size."""

from pipeline.errors import FalxError
from pipeline.pages.markup import Html, escape, tag

MAX_BYTES = 10_000_000


def frame_page(title: str, main: Html, *, style: str, advice: str) -> str:
    """The whole page: the same arguments give the same bytes.

    Args:
        title: of the window.
        main: the element `main`.
        style: the style sheet.
        advice: what to shorten where the page gets too large.

    Raises:
        FalxError: the page would be larger than `MAX_BYTES`.
    """
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        f"style-src 'unsafe-inline'\"><title>{escape(title)}</title>"
        f"<style>{style}</style>"
    )
    page = f'<!doctype html>\n<html lang="en-GB"><head>{head}</head>{tag("body", main)}</html>\n'
    size = len(page.encode())
    if size > MAX_BYTES:
        raise FalxError(
            f"the page “{title}” takes {size:,} bytes; {MAX_BYTES:,} are allowed. Show fewer "
            f"pictures: {advice}"
        )
    return page
