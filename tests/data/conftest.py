"""Fixtures of the data tests: isolation, a tiny set, and a server on this machine that publishes it well or badly."""

import gzip
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from tiny_set import Mirrors, TinySet, idx_bytes

from hvae_tutorial.data import REGISTRY, Source


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the tests off the user's data folder, cache and proxy."""
    monkeypatch.delenv("HVAE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def tiny() -> TinySet:
    pixels = np.arange(20 * 6).reshape(20, 2, 3) * 2
    pixels[-1, -1, -1] = 255
    test_pixels = np.arange(4 * 6).reshape(4, 2, 3)
    return TinySet(
        {
            "train-images-idx3-ubyte": idx_bytes(pixels),
            "train-labels-idx1-ubyte": idx_bytes(np.arange(20) % 10),
            "t10k-images-idx3-ubyte": idx_bytes(test_pixels),
            "t10k-labels-idx1-ubyte": idx_bytes(np.arange(4)),
        }
    )


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[[Source], Source]:
    """Put a source into the registry for the duration of a test."""

    def put(source: Source) -> Source:
        monkeypatch.setitem(REGISTRY, source.name, source)
        return source

    return put


@pytest.fixture
def mirrors(tiny: TinySet) -> Iterator[Mirrors]:
    """Serve the tiny set at `/good/`, `/decompressing/`, `/forbidden/`, `/garbage/`, `/cut/` and `/truncated/`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _, behaviour, name = self.path.split("/")
            served.requests.append(f"{behaviour}/{name}")
            body = gzip.compress(served.contents[name.removesuffix(".gz")])
            if behaviour == "forbidden":
                self.send_error(403)
                return
            if behaviour == "garbage":
                body = b"<html>This bucket has moved.</html>"
            if behaviour == "truncated":  # a complete answer with half a file in it
                body = body[: len(body) // 2]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            if behaviour == "decompressing":  # the client then undoes the compression and keeps the name
                self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if behaviour == "cut" else body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Mirrors(f"http://127.0.0.1:{server.server_port}", tiny.contents)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    server.shutdown()
    thread.join()
    server.server_close()
