"""Fetching a data set from a local server: checked, and going on where it stopped."""

import functools
import hashlib
import http.server
import pathlib
import threading
from contextlib import contextmanager

import pytest

from npunet.data.fetch import LIST, fetch, read_sums


class Server(http.server.SimpleHTTPRequestHandler):
    """Serves a folder with byte ranges, and writes down what was asked for."""

    def do_GET(self):
        path = self.translate_path(self.path)
        self.server.asked.append((self.path, self.headers.get("Range")))
        try:
            content = pathlib.Path(path).read_bytes()
        except OSError:
            self.send_error(404, "no such file")
            return
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        if start >= len(content) > 0:
            self.send_error(416, "nothing there")
            return
        self.send_response(206 if start else 200)
        self.end_headers()
        self.wfile.write(content[start:])

    def log_message(self, *arguments):
        pass


@contextmanager
def serving(folder):
    handler = functools.partial(Server, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", server.asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def served(tmp_path, rng):
    """A folder to be fetched, with its list."""
    folder = tmp_path / "server"
    (folder / "data").mkdir(parents=True)
    for name in ("RECORDS", "data/1.dat", "data/1.hea"):
        (folder / name).write_bytes(rng.bytes(5000))
    names = ("RECORDS", "data/1.dat", "data/1.hea")
    sums = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()} {name}" for name in names]
    (folder / LIST).write_text("\n".join(sums) + "\n")
    return folder


def test_fetching_brings_checks_and_goes_on(served, tmp_path):
    here = tmp_path / "here"
    with serving(served) as (url, asked):
        assert fetch(url, here) == (3, 3)
        for name in ("RECORDS", "data/1.dat"):
            assert (here / name).read_bytes() == (served / name).read_bytes()
        del asked[:]
        assert fetch(url, here) == (0, 3)
        assert asked == [(f"/{LIST}", None)], "what is there is not fetched again"
        (here / "data" / "1.dat").unlink()
        (here / "data" / "1.dat.part").write_bytes((served / "data" / "1.dat").read_bytes()[:1234])
        assert fetch(url, here) == (1, 3)
        assert ("/data/1.dat", "bytes=1234-") in asked
        (here / "data" / "1.dat").write_bytes(b"spoiled")
        assert fetch(url, here) == (1, 3), "a wrong file is replaced"
        (here / "data" / "1.dat").unlink()
        (here / "data" / "1.dat.part").write_bytes(b"the half of another file")
        assert fetch(url, here) == (1, 3), "a wrong half is dropped"
        assert (here / "data" / "1.dat").read_bytes() == (served / "data" / "1.dat").read_bytes()
        assert not list(here.rglob("*.part"))


def test_a_wrong_sum_is_an_error_and_leaves_no_file(served, tmp_path):
    (served / "data" / "1.dat").write_bytes(b"changed on the way")
    with serving(served) as (url, _), pytest.raises(ValueError, match=r"1\.dat has sha256 .* the list says"):
        fetch(url, tmp_path / "here")
    assert not (tmp_path / "here" / "data" / "1.dat").exists()


def test_servers_and_lists_that_are_none(served, tmp_path):
    with serving(served) as (url, _), pytest.raises(OSError, match="404"):
        fetch(url + "elsewhere", tmp_path / "here")
    with pytest.raises(OSError, match="cannot be reached"):
        fetch(url, tmp_path / "here")
    for text, told in (("hello", "no sha256 list"), ("", "lists no files"), (f"{'0' * 64}  ../up", "outside"),
                       (f"{'0' * 64}  /etc/x", "outside")):
        with pytest.raises(ValueError, match=told):
            read_sums(text)
