"""The report as PDF, by WeasyPrint: the printed page, without a browser."""

from __future__ import annotations

from typing import Any, NoReturn

from restore_drill.errors import CouldNotVerify


def render(html: str) -> bytes:
    """A report as PDF; nothing is fetched, whatever the page says.

    Raises:
        CouldNotVerify: The extra is not installed, or the system lacks a library that it needs.
    """
    try:
        from weasyprint import HTML
    except (ImportError, OSError) as problem:
        raise CouldNotVerify(
            "PDF cannot be written: WeasyPrint or a library that it needs is missing",
            looked_at=str(problem),
            remedy="pip install 'pytest-restore-drill[pdf]', and install Pango (Debian: libpango-1.0-0, "
            "libpangoft2-1.0-0, libharfbuzz-subset0); or print report.html from a browser.",
        ) from problem
    found: Any = HTML(string=html, url_fetcher=_refuse).write_pdf()
    return bytes(found)


def _refuse(url: str, *_: Any, **__: Any) -> NoReturn:
    """No page asks for anything; what asks nevertheless gets nothing."""
    raise ValueError(f"nothing is fetched: {url[:40]}")
