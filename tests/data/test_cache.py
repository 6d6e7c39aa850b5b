"""A file is used only if it has the SHA-256 of its entry, whatever delivered it, and it appears whole or not at all.

Folders and mirrors are asked in the stated order; each failure says what was tried and what to do.
"""

import gzip
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_set import Mirrors, TinySet
from tqdm import tqdm

from hvae_tutorial.data import REGISTRY, DataError, Source
from hvae_tutorial.data.cache import LARGEST, fetch, whereabouts

Register = Callable[[Source], Source]


def first(source: Source, **options: Path) -> bytes:
    return fetch(source, source.files[0], **options)


IMAGES = "train-images-idx3-ubyte"


# Downloads


def test_download_is_verified_and_kept(tiny: TinySet, mirrors: Mirrors, tmp_path: Path) -> None:
    source = tiny.source(mirrors["good"])
    assert first(source, cache=tmp_path) == tiny.contents[IMAGES]
    assert gzip.decompress((tmp_path / "mnist" / f"{IMAGES}.gz").read_bytes()) == tiny.contents[IMAGES]
    assert first(source, cache=tmp_path) == tiny.contents[IMAGES]
    assert mirrors.requests == [f"good/{IMAGES}.gz"], "the second call must come from the cache"


def test_default_cache_is_the_users(
    tiny: TinySet, mirrors: Mirrors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / project)
    first(tiny.source(mirrors["good"]))
    assert (tmp_path / "hvae_tutorial" / "mnist" / f"{IMAGES}.gz").is_file()


@pytest.mark.parametrize("bad", ["forbidden", "garbage", "cut", "truncated"])
def test_next_mirror_is_tried(bad: str, tiny: TinySet, mirrors: Mirrors, tmp_path: Path) -> None:
    assert first(tiny.source(mirrors[bad], mirrors["good"]), cache=tmp_path) == tiny.contents[IMAGES]
    assert mirrors.requests == [f"{bad}/{IMAGES}.gz", f"good/{IMAGES}.gz"]


def test_later_mirrors_are_left_alone(tiny: TinySet, mirrors: Mirrors, tmp_path: Path) -> None:
    first(tiny.source(mirrors["good"], mirrors["forbidden"]), cache=tmp_path)
    assert mirrors.requests == [f"good/{IMAGES}.gz"]


def test_mirror_that_decompresses_is_accepted(tiny: TinySet, mirrors: Mirrors, tmp_path: Path) -> None:
    source = tiny.source(mirrors["decompressing"])
    assert first(source, cache=tmp_path) == first(source, cache=tmp_path) == tiny.contents[IMAGES]
    assert len(mirrors.requests) == 1


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("forbidden", "the server answered 403 Forbidden"),
        ("garbage", "wrong contents, 35 uncompressed bytes with sha256 [0-9a-f]{64}, expected [0-9a-f]{64}"),
        ("cut", "the connection broke off"),
        ("truncated", "truncated or damaged gzip file"),
    ],
)
def test_half_a_download_never_counts(bad: str, reason: str, tiny: TinySet, mirrors: Mirrors, tmp_path: Path) -> None:
    url = mirrors[bad] + f"{IMAGES}.gz"
    with pytest.raises(DataError, match=f"could not get {IMAGES}.gz of 'mnist':\n  - {url}: .*{reason}"):
        first(tiny.source(mirrors[bad]), cache=tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert list(tmp_path.iterdir()) == [], "neither the temporary folder nor an empty one of the set may stay"


def test_every_failure_is_listed_with_what_to_do(tiny: TinySet, mirrors: Mirrors, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        first(tiny.source(mirrors["forbidden"], mirrors["garbage"]), cache=tmp_path)
    message = str(caught.value)
    assert mirrors["forbidden"] in message
    assert mirrors["garbage"] in message
    assert message.endswith(
        "Check the network connection and try again, or get the file in another way,"
        f" put it at <folder>/mnist/{IMAGES}.gz and set HVAE_DATA to <folder>."
    )


def test_no_network(tiny: TinySet, tmp_path: Path) -> None:
    with socket.socket() as unused:  # bound but not listening: connections are refused
        unused.bind(("127.0.0.1", 0))
        mirror = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        with pytest.raises(DataError, match=f"{mirror}{IMAGES}.gz: no connection to the server\nCheck the network"):
            first(tiny.source(mirror), cache=tmp_path)


def test_progress_goes_to_standard_error_and_nothing_else_is_said(
    tiny: TinySet,
    mirrors: Mirrors,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends = []

    class Bar(tqdm):
        def close(self) -> None:
            ends.append(self.n)
            super().close()

    monkeypatch.setattr("hvae_tutorial.data.cache.tqdm", Bar)
    with caplog.at_level("INFO", logger="pooch"):
        first(tiny.source(mirrors["good"]), cache=tmp_path)
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{IMAGES}.gz" in err
    assert ends[0] == len(gzip.compress(tiny.contents[IMAGES]))  # the bar has counted every byte
    assert caplog.records == []


# The cache


@pytest.mark.parametrize(
    "damage",
    [b"", b"<html></html>", gzip.compress(b"another file"), gzip.compress(b"cut")[:-5]],
    ids=["empty", "page", "hash", "truncated"],
)
def test_damaged_cache_is_downloaded_again(damage: bytes, tiny: TinySet, mirrors: Mirrors, tmp_path: Path) -> None:
    source = tiny.source(mirrors["good"])
    tiny.write(tmp_path / "mnist")
    (tmp_path / "mnist" / f"{IMAGES}.gz").write_bytes(damage)
    assert first(source, cache=tmp_path) == first(source, cache=tmp_path) == tiny.contents[IMAGES]
    assert len(mirrors.requests) == 1


def test_damaged_cache_without_network_is_named(tiny: TinySet, mirrors: Mirrors, tmp_path: Path) -> None:
    tiny.write(tmp_path / "mnist")
    cached = tmp_path / "mnist" / f"{IMAGES}.gz"
    cached.write_bytes(b"damaged")
    with pytest.raises(DataError, match=f"  - {cached}: wrong contents, 7 uncompressed bytes"):
        first(tiny.source(mirrors["forbidden"]), cache=tmp_path)


def test_unwritable_cache(tiny: TinySet, mirrors: Mirrors, tmp_path: Path) -> None:
    cache = tmp_path / "a-file-where-the-cache-should-be"
    cache.touch()  # unlike a read-only folder, this stops the superuser too
    with pytest.raises(
        DataError,
        match=f"cannot write to the cache folder {cache / 'mnist'}: .*; make it writable,"
        r" name another with `cache=`, or put the data into a folder of yours and set HVAE_DATA to it",
    ):
        first(tiny.source(mirrors["good"]), cache=cache)
    assert mirrors.requests == [], "nothing is downloaded that cannot be kept"


# HVAE_DATA


@pytest.mark.parametrize("compress", [True, False], ids=["gz", "plain"])
@pytest.mark.parametrize("subfolder", ["", "mnist"], ids=["flat", "one folder a set"])
def test_data_folder_is_looked_in_first(
    compress: bool,
    subfolder: str,
    tiny: TinySet,
    mirrors: Mirrors,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiny.write(tmp_path / "data" / subfolder, compress=compress)
    monkeypatch.setenv("HVAE_DATA", str(tmp_path / "data"))
    assert first(tiny.source(mirrors["good"]), cache=tmp_path / "cache") == tiny.contents[IMAGES]
    assert mirrors.requests == []
    assert not (tmp_path / "cache").exists()


def test_data_folder_without_the_file_falls_back(
    tiny: TinySet, mirrors: Mirrors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("HVAE_DATA", str(tmp_path / "data"))
    assert first(tiny.source(mirrors["good"]), cache=tmp_path / "cache") == tiny.contents[IMAGES]
    assert list((tmp_path / "data").iterdir()) == [], "HVAE_DATA is only read"


def test_data_folder_without_the_file_is_named_when_no_mirror_delivers(
    tiny: TinySet, mirrors: Mirrors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HVAE_DATA", str(tmp_path))
    message = f"  - {tmp_path}, named by HVAE_DATA: holds neither mnist/{IMAGES}.gz nor {IMAGES}.gz\n  - http"
    with pytest.raises(DataError, match=re.escape(message)):
        first(tiny.source(mirrors["forbidden"]), cache=tmp_path / "cache")


def test_empty_setting_is_no_setting(
    tiny: TinySet, mirrors: Mirrors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.write(tmp_path / "here" / "mnist")
    (tmp_path / "here" / "mnist" / f"{IMAGES}.gz").write_bytes(b"not to be looked at")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HVAE_DATA", "")
    assert first(tiny.source(mirrors["good"]), cache=tmp_path) == tiny.contents[IMAGES]


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_data_folder_that_is_none(kind: str, tiny: TinySet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind == "file":
        (tmp_path / kind).touch()
    monkeypatch.setenv("HVAE_DATA", str(tmp_path / kind))
    message = f"HVAE_DATA is '{tmp_path / kind}', which is not a folder; correct it, or unset it to use the cache"
    with pytest.raises(DataError, match=re.escape(message)):
        first(tiny.source(), cache=tmp_path)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (gzip.compress(b"another file"), "wrong contents, 12 uncompressed bytes with sha256 [0-9a-f]{64}, expected"),
        (gzip.compress(b"cut")[:-5], "truncated or damaged gzip file"),
        (b"\x1f\x8b no gzip", "truncated or damaged gzip file"),
    ],
    ids=["hash", "truncated", "not gzip"],
)
@pytest.mark.parametrize("subfolder", ["", "mnist"], ids=["flat", "one folder a set"])
def test_damaged_file_in_data_folder_is_refused(
    damage: bytes,
    reason: str,
    subfolder: str,
    tiny: TinySet,
    mirrors: Mirrors,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / subfolder / f"{IMAGES}.gz"
    tiny.write(path.parent)
    path.write_bytes(damage)
    monkeypatch.setenv("HVAE_DATA", str(tmp_path))
    with pytest.raises(DataError, match=f"{path}, found through HVAE_DATA: {reason}.*; replace or remove it"):
        first(tiny.source(mirrors["good"]), cache=tmp_path / "cache")
    assert mirrors.requests == []


def test_unreadable_file_in_data_folder(tiny: TinySet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.write(tmp_path / "mnist")
    monkeypatch.setenv("HVAE_DATA", str(tmp_path))

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)  # the superuser may read what its mode forbids
    with pytest.raises(DataError, match=r"mnist.*: cannot be read \(.*Permission denied.*; replace or remove it"):
        first(tiny.source())


def test_flat_folder_with_the_files_of_a_set_of_the_same_file_names(
    tiny: TinySet, mirrors: Mirrors, register: Register, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fashion-MNIST has the file names of MNIST: MNIST in a flat folder is no damaged Fashion-MNIST."""
    register(tiny.source())
    tiny.write(tmp_path / "data")
    monkeypatch.setenv("HVAE_DATA", str(tmp_path / "data"))
    fashion = TinySet({name: data[::-1] for name, data in tiny.contents.items()})
    mirrors.contents = fashion.contents
    source = register(fashion.source(mirrors["good"], name="fashion-mnist"))
    assert first(source, cache=tmp_path / "cache") == fashion.contents[IMAGES]
    assert len(mirrors.requests) == 1

    tiny.write(tmp_path / "data" / "fashion-mnist")  # but in Fashion-MNIST's own folder they are wrong
    with pytest.raises(DataError, match="wrong contents"):
        first(source, cache=tmp_path / "cache")


def test_a_failed_download_leaves_no_empty_cache_and_removes_no_folder_of_the_users(
    tiny: TinySet, mirrors: Mirrors, tmp_path: Path
) -> None:
    (tmp_path / "theirs").mkdir()
    for cache in (tmp_path / "theirs", tmp_path / "new"):
        with pytest.raises(DataError):
            first(tiny.source(mirrors["forbidden"]), cache=cache)
    assert list(tmp_path.rglob("*")) == [tmp_path / "theirs"]


@pytest.mark.parametrize("place", ["cache", "flat", "one folder a set"])
def test_a_folder_in_place_of_a_file_is_named_and_no_network_is_asked(
    place: str, tiny: TinySet, mirrors: Mirrors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place != "cache":
        monkeypatch.setenv("HVAE_DATA", str(tmp_path))
    path = tmp_path / f"{IMAGES}.gz" if place == "flat" else tmp_path / "mnist" / f"{IMAGES}.gz"
    path.mkdir(parents=True)
    with pytest.raises(DataError, match=rf"{re.escape(str(path))}.* is a folder, not a file; remove it"):
        first(tiny.source(mirrors["good"]), cache=tmp_path)
    assert mirrors.requests == []


def test_what_grows_beyond_measure_is_not_unpacked(
    tiny: TinySet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hash can be checked only when all has been unpacked: a gigabyte of zeros takes a megabyte to send."""
    monkeypatch.setenv("HVAE_DATA", str(tmp_path))
    monkeypatch.setattr("hvae_tutorial.data.cache.LARGEST", 1000)
    (tmp_path / f"{IMAGES}.gz").write_bytes(gzip.compress(bytes(10**6)))
    with pytest.raises(DataError, match="more than 1000 bytes when unpacked, which no file of ours has"):
        first(tiny.source(), cache=tmp_path)


def test_what_may_be_unpacked_is_some_times_what_the_largest_file_has() -> None:
    """60,000 images of 28x28 bytes after a header of 16: far below the limit, and the limit far below a memory."""
    assert 5 < LARGEST / (60_000 * 28 * 28 + 16) < 6


def test_whereabouts(tiny: TinySet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source = tiny.source()
    assert whereabouts(REGISTRY["digits"]) == "embedded"
    assert whereabouts(source) == ""
    tiny.write(tmp_path / "hvae_tutorial" / "mnist")
    assert whereabouts(source) == "cache"
    tiny.write(tmp_path / "data", compress=False)
    monkeypatch.setenv("HVAE_DATA", str(tmp_path / "data"))
    assert whereabouts(source) == "HVAE_DATA"
    (tmp_path / "data" / IMAGES).unlink()  # one of four is not enough
    assert whereabouts(source) == "cache"


def test_the_folder_of_the_set_comes_before_the_flat_one(
    tiny: TinySet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged file beside it is never looked at."""
    monkeypatch.setenv("HVAE_DATA", str(tmp_path))
    tiny.write(tmp_path / "mnist")
    (tmp_path / f"{IMAGES}.gz").write_bytes(b"another set's, or damaged")
    assert first(tiny.source()) == tiny.contents[IMAGES]


def test_a_download_appears_in_the_cache_by_a_rename(
    tiny: TinySet, mirrors: Mirrors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that no other process ever sees a part of it."""
    moved = []
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, target: (moved.append(target), replace(self, target))[1])
    monkeypatch.setattr(Path, "write_bytes", lambda *_: pytest.fail("a file is written where others read it"))
    first(tiny.source(mirrors["good"]), cache=tmp_path)
    assert moved == [tmp_path / "mnist" / f"{IMAGES}.gz"]
