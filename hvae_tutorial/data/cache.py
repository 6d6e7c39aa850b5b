"""Finding a file of a data set: in `HVAE_DATA`, in the cache, or on a mirror. Unverified bytes are never handed out."""

import contextlib
import gzip
import hashlib
import io
import os
import tempfile
import zlib
from pathlib import Path

from tqdm import tqdm

from hvae_tutorial.data.errors import DataError
from hvae_tutorial.sources import REGISTRY, RemoteFile, Source

DATA_FOLDER_VARIABLE = "HVAE_DATA"

# Bytes that a file may have when unpacked, which happens before its hash can be checked: five times what MNIST has.
LARGEST = 2**28


def fetch(source: Source, file: RemoteFile, *, cache: Path | str | None = None) -> bytes:
    """Return the verified, uncompressed contents of one file.

    Looked for in this order:

    1. The folder named by the environment variable `HVAE_DATA`, which is only read: `<folder>/<file>` or `<file>`, with
       or without `.gz`. A damaged file there is an error, since the user asked for that folder.
    2. The cache, `<cache>/<folder>/<file>`. A damaged file there is downloaded again.
    3. The mirrors, in order. A download goes to a temporary folder and moves to the cache once its hash is checked.

    Here `<folder>` is `source.folder`, mostly the name of the set.

    Args:
        source: The data set.
        file: One of its files.
        cache: The cache folder; the user's cache folder for this package by default.

    Raises:
        DataError: `HVAE_DATA` names no folder or has a damaged file, the cache is unwritable, or no mirror delivers.
    """
    data = _from_data_folder(source, file)
    if data is not None:
        return data

    import pooch  # only where it is needed: it loads tqdm's notebook bar, which warns in a kernel without widgets

    target = Path(cache or pooch.os_cache("hvae_tutorial")) / source.folder / file.name
    failures = []
    if setting := os.environ.get(DATA_FOLDER_VARIABLE):
        failures.append(
            f"{setting}, named by {DATA_FOLDER_VARIABLE}: holds neither {source.folder}/{file.name} nor {file.name}"
        )
    if target.is_dir():
        raise DataError(f"{target} is a folder, not a file; remove it")
    if target.is_file():
        try:
            return _verified(_contents(target), file)
        except DataError as error:
            failures.append(f"{target}: {error}")

    new = [folder for folder in (target.parent, target.parent.parent) if not folder.exists()]
    with _temporary_folder(beside=target) as temporary:
        part = Path(temporary, file.name)
        for mirror in source.mirrors:
            url = mirror + file.name
            try:
                _download(url, part)
                data = _verified(_contents(part), file)
            except (OSError, DataError) as error:  # the exceptions of requests are OSErrors
                failures.append(f"{url}: {_reason(error)}")
            else:
                part.replace(target)  # a rename: other processes see the whole file or none
                return data
    for folder in new:  # leave no empty cache behind
        with contextlib.suppress(OSError):
            folder.rmdir()
    raise DataError(
        f"could not get {file.name} of {source.name!r}:\n"
        + "".join(f"  - {failure}\n" for failure in failures)
        + "Check the network connection and try again, or get the file in another way, put it at"
        + f" <folder>/{source.folder}/{file.name} and set {DATA_FOLDER_VARIABLE} to <folder>."
    )


def whereabouts(source: Source) -> str:
    """Return in a word where a data set is, without opening its files: `embedded`, `HVAE_DATA`, `cache` or nothing."""
    if not source.files:
        return "embedded"
    import pooch

    roots = {"cache": Path(pooch.os_cache("hvae_tutorial"))}
    if setting := os.environ.get(DATA_FOLDER_VARIABLE):
        roots = {DATA_FOLDER_VARIABLE: Path(setting).expanduser(), **roots}
    for where, root in roots.items():
        found = [
            any((folder / name).is_file() for folder in (root / source.folder, root) for name in _names(file))
            for file in source.files
        ]
        if all(found):
            return where
    return ""


def _names(file: RemoteFile) -> tuple[str, str]:
    return file.name, file.name.removesuffix(".gz")


def _from_data_folder(source: Source, file: RemoteFile) -> bytes | None:
    """Return the file's contents from `HVAE_DATA`; None if that is not set or does not hold the file."""
    setting = os.environ.get(DATA_FOLDER_VARIABLE)
    if not setting:
        return None
    root = Path(setting).expanduser()
    if not root.is_dir():
        raise DataError(
            f"{DATA_FOLDER_VARIABLE} is {setting!r}, which is not a folder; correct it, or unset it to use the cache"
        )
    # Fashion-MNIST has the file names of MNIST, so in a flat folder the same name may be the other set's file.
    others = {other.sha256 for entry in REGISTRY.values() for other in entry.files if other not in source.files}
    for folder in (root / source.folder, root):
        for name in _names(file):
            path = folder / name
            if path.is_dir():
                raise DataError(f"{path}, found through {DATA_FOLDER_VARIABLE}: is a folder, not a file; remove it")
            if not path.is_file():
                continue
            try:
                data = _contents(path)
                if folder == root and _sha256(data) in others:
                    continue
                return _verified(data, file)
            except DataError as error:
                raise DataError(
                    f"{path}, found through {DATA_FOLDER_VARIABLE}: {error}; replace or remove it"
                ) from error
    return None


def _temporary_folder(*, beside: Path) -> tempfile.TemporaryDirectory[str]:
    """Make a temporary folder on the file system of a path, creating the folders above it."""
    try:
        beside.parent.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=beside.parent, prefix="download-")
    except OSError as error:
        raise DataError(
            f"cannot write to the cache folder {beside.parent}: {error}; make it writable, name another with `cache=`,"
            f" or put the data into a folder of yours and set {DATA_FOLDER_VARIABLE} to it"
        ) from error


def _download(url: str, path: Path) -> None:
    """Download to a file, with a progress bar on standard error."""
    import pooch

    # pooch sets the total once it knows it; until then the bar needs one, as pooch asks for its truth value, total > 0.
    with tqdm(desc=path.name, total=1, unit="B", unit_scale=True, leave=False) as progress:
        pooch.HTTPDownloader(progressbar=progress)(url, str(path), None)


def _reason(error: Exception) -> str:
    """Return what went wrong with a download, without the names of Python objects."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"the server answered {response.status_code} {response.reason}"
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "Timeout" in kinds:
        return "the server did not answer in time"
    if "ChunkedEncodingError" in kinds:
        return "the connection broke off"
    return "no connection to the server" if "ConnectionError" in kinds else str(error)


def _contents(path: Path) -> bytes:
    """Read a file; decompress gzip, known by its first bytes since some servers decompress and keep the name."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read ({error})") from error
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        with gzip.open(io.BytesIO(data)) as file:
            content = file.read(LARGEST + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"truncated or damaged gzip file ({error})") from error
    if len(content) > LARGEST:
        raise DataError(f"more than {LARGEST} bytes when unpacked, which no file of ours has")
    return content


def _verified(data: bytes, file: RemoteFile) -> bytes:
    """Return uncompressed contents if they are the registered ones."""
    sha256 = _sha256(data)
    if sha256 != file.sha256:
        raise DataError(f"wrong contents, {len(data)} uncompressed bytes with sha256 {sha256}, expected {file.sha256}")
    return data


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
