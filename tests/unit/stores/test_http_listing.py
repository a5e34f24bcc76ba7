"""Index pages as web servers write them, and lists of names as programs write them."""

from __future__ import annotations

import html
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_drill.stores.http_listing import NoListing, names_in_file, names_in_page

HERE = "https://host:8443/a%20b/"
APACHE = b"""<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">
<html><head><title>Index of /a b</title></head><body><h1>Index of /a b</h1>
<table><tr><th><a href="?C=N;O=D">Name</a></th><th><a href="?C=M;O=A">Last modified</a></th></tr>
<tr><td><a href="/">Parent Directory</a></td></tr>
<tr><td><a href="db%20one.gz">db one.gz</a></td><td>2026-11-20 02:00</td><td>1.2M</td></tr>
<tr><td><a href="sub/">sub/</a></td></tr>
</table><address>Apache/2.4 Server at host Port 80</address></body></html>"""
LIGHTTPD = b"""<!DOCTYPE html><html><head><title>Index of /a b/</title></head><body><h2>Index of /a b/</h2>
<a href="../">..</a>/ <a href="sub/">sub</a>/ <a href="db%20one.gz">db one.gz</a></body></html>"""
IIS = b"""<html><head><title>host - /a b/</title></head><body><H1>host - /a b/</H1><pre>
<A HREF="/">[To Parent Directory]</A><A HREF="/a%20b/sub/">sub</A>
<A HREF="/a%20b/db%20one.gz">db one.gz</A></pre></body></html>"""
CADDY = b'[{"name":"db one.gz","size":5,"url":"./db%20one.gz","is_dir":false},{"name":"sub/","is_dir":true}]'
NGINX = b'[\n{ "name":"sub", "type":"directory" },\n{ "name":"db one.gz", "type":"file", "size":5 }\n]'


@pytest.mark.parametrize(
    "page", [APACHE, LIGHTTPD, IIS, CADDY, NGINX], ids=["apache", "lighttpd", "iis", "caddy", "nginx"]
)
def test_index_pages(page: bytes) -> None:
    assert sorted(names_in_page(page, HERE)) == [("db one.gz", False), ("sub", True)]


@pytest.mark.parametrize(
    ("page", "why"),
    [
        (b"", "no index page"),
        (b"<html><title>Log in</title><a href='db.gz'>x</a></html>", "no index page"),
        (APACHE[:-8], "cut off"),
        (CADDY[:-1], "no whole JSON"),
        (b'[{"error": "no"}]', "no index"),
        (b'["db.gz"]', "no index"),
    ],
)
def test_what_is_no_index(page: bytes, why: str) -> None:
    with pytest.raises(NoListing, match=why):
        list(names_in_page(page, HERE))


LINKS = (
    "https://other/a%20b/x http://host:8443/a%20b/x //other/x /x ../x a/b ./ .. %2e%2e a%2Fb ?x #x x?y mailto:x "
    "javascript:x https://[/ a%00b"
)


@pytest.mark.parametrize("link", LINKS.split())
def test_links_that_lead_elsewhere_are_no_names(link: str) -> None:
    page = f"<html><title>Index of /</title><a href='{link}'>x</a><a href='./y'>y</a></html>"
    assert list(names_in_page(page.encode(), HERE)) == [("y", False)]


_CHARACTERS = st.characters(exclude_characters="/\0", codec="utf-8")
_NAMES = st.lists(st.text(_CHARACTERS, min_size=1).filter(lambda name: name not in (".", "..")), unique=True)


@given(_NAMES)
def test_any_name_comes_back(names: list[str]) -> None:
    links = "".join(f'<a href="{html.escape(quote(name))}">{html.escape(name)}</a>\n' for name in names)
    page = f"<html><head><title>Index of /</title></head><body>{links}</body></html>"
    assert list(names_in_page(page.encode(), HERE)) == [(name, False) for name in names]


def test_lists_of_names(tmp_path: Path) -> None:
    names = ["db one.gz", "sub/two", "back\\slash", "new\nline", "*star"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    for argv in (["sha256sum", "-b"], ["md5sum"], ["sha512sum", "--tag"]):
        done = subprocess.run([*argv, "--", *names], cwd=tmp_path, capture_output=True, check=True)
        assert list(names_in_file(done.stdout)) == names
    found = subprocess.run(["find", ".", "-type", "f", "-name", "t*"], cwd=tmp_path, capture_output=True, check=True)
    assert list(names_in_file(found.stdout)) == ["sub/two"]
    assert list(names_in_file(b"# nightly\r\n\r\na.gz\r\n b.gz\n")) == ["a.gz", " b.gz"]
    for text, why in ((b"", "empty"), (b"\n#\n", "empty"), (b" <html>", "a web page")):
        with pytest.raises(NoListing, match=why):
            list(names_in_file(text))
