"""Opens a data set in the Hugging Face format, from the hub or a folder, as a table on disk for each split.

No code of the data set runs: the package has read none since version 4, and only formats of data are accepted here.
"""

import hashlib
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixzoo import DataError, MixzooError
from mixzoo_datasets.folder import ENDINGS, SPLITS
from mixzoo_datasets.hf_columns import listed
from mixzoo_datasets.reading import exists, is_folder, reason, resolve_path

FORMATS = {"parquet", "arrow", "imagefolder", "webdataset", "cache"}  # `cache` is a data set of the hub, read offline
CARDS = ("README.md", ".huggingface.yaml")  # which may say what files of a folder are read
PATTERN = re.compile(r"[*?]|\[.*\]|::")  # what the package takes for a pattern, or a path within an archive
ARCHIVES = {".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar"}
LONGEST = 300  # characters of a reason that the package gives


@dataclass(frozen=True)
class Opened:
    """The splits of a data set, each a table on disk, and where they come from."""

    splits: Mapping[str, Any]  # name -> datasets.Dataset
    where: str  # the beginning of messages
    roots: tuple[Path, ...]  # folders that files named in rows may be in


def open_splits(*, hub: str | None, path: str | None, config: str | None, revision: str | None) -> Opened:
    """The data set `hub` of the hub, or that in the folder `path`.

    Raises DataError if it is not there or cannot be read, or the package `datasets` is missing.
    """
    root = None if path is None else resolve_path(path)
    if root is not None and not is_folder(root):
        if exists(root):
            raise DataError(f"{root}: not a folder; give path={root.parent}, the folder that holds it")
        raise DataError(f"{root}: no such folder; give path=FOLDER, or hub=OWNER/NAME for a data set of the hub")
    if hub is not None and is_folder(Path(hub)):  # the package would prefer it to the data set of that name
        raise DataError(f"hub={hub} is a folder here; give path={hub}, or start elsewhere for the one of the hub")
    where = str(root or hub)
    try:
        import datasets
        from huggingface_hub.constants import HF_HUB_CACHE
    except ImportError as err:
        raise DataError(f'{where}: the format needs the package datasets; pip install "mixzoo[hf]"') from err

    if root is None:
        with _in_words(where):
            splits = _of_hub(where, config, revision)
        files = Path(HF_HUB_CACHE, f"datasets--{where.replace('/', '--')}")
        unpacked = Path(datasets.config.EXTRACTED_DATASETS_PATH)  # what archives of images are unpacked to
        return Opened(splits, where, (files, Path(datasets.config.DOWNLOADED_DATASETS_PATH), unpacked))
    with _in_words(where):
        splits, unpacked = _of_folder(root, config)
    return Opened(splits, where, (root.absolute(), root.resolve(), unpacked))


def choose_splits(opened: Opened, train: str) -> dict[str, Any]:
    """The train split, and those with a usual name that are there: validation, test, in this order.

    Raises DataError if there is no such split, or more than one to validate on.
    """
    if train not in opened.splits:
        raise DataError(f"{opened.where}: no split {train!r}; give split=NAME, one of {listed(opened.splits)}")
    held_out = [name for name in opened.splits if SPLITS.get(name, "train") != "train" and name != train]
    if len({SPLITS[name] for name in held_out}) < len(held_out):
        raise DataError(f"{opened.where}: more than one split of validation images ({listed(held_out)})")
    chosen = {SPLITS[name]: opened.splits[name] for name in held_out}
    chosen["train"] = opened.splits[train]
    return {split: chosen[split] for split in ("train", "validation", "test") if split in chosen}


def _of_folder(root: Path, config: str | None) -> tuple[Mapping[str, Any], Path]:
    """The splits of a folder, and where its archives are unpacked."""
    import datasets

    cache = Path(datasets.config.EXTRACTED_DATASETS_PATH)
    if exists(root / "dataset_dict.json") or exists(root / "state.json"):
        if config is not None:
            raise DataError(f"{root}: config={config} has no effect on a data set that was saved; leave it out")
        return _by_name(datasets.load_from_disk(str(root), keep_in_memory=False)), cache
    if sign := PATTERN.search(str(root.resolve())):
        raise DataError(
            f"{root}: its path has {sign[0]}, which the package datasets takes for a pattern; rename that folder"
        )
    _check_cards(root)
    own = Path(datasets.config.HF_DATASETS_CACHE, "mixzoo")
    where = str(root.absolute())  # "csv" alone would be a format
    builder = datasets.load_dataset_builder(where, name=config, cache_dir=str(own))
    files = _data_files(builder)
    _check_inside(root, files, "its card")

    # The package knows a file by its path and its time of change, so it would read one that was changed with its time
    # kept as it was. The older table may be in use by a run: the new one, and unpacked archives, have their own folder.
    copied = [file for file in files if Path(file).suffix.lower() not in ENDINGS]  # of images it keeps paths alone
    table = f"{builder.cache_dir}-{_version(copied)}"
    unpacked = Path(f"{table}-unpacked")
    download = datasets.DownloadConfig(cache_dir=unpacked, use_etag=False)
    return _prepared(builder, root, output_dir=table, download_config=download), unpacked


def _check_cards(root: Path) -> None:
    """Raises DataError if a card of the folder names a file elsewhere, before the package looks for it there."""
    import yaml
    from huggingface_hub import DatasetCard

    for name in CARDS:
        if not exists(root / name):
            continue
        if not (root / name).is_file():  # a pipe would wait for a writer
            raise DataError(f"{root / name}: not a regular file; remove it")
        is_page = name.endswith(".md")
        data = DatasetCard.load(root / name).data.to_dict() if is_page else yaml.safe_load((root / name).read_bytes())
        configs = data.get("configs") if isinstance(data, dict) else None
        for config in configs if isinstance(configs, list) else ():
            if isinstance(config, dict):
                files = list(_texts([config.get("data_files"), config.get("data_dir")]))
                if remote := [file for file in files if "://" in file or "::" in file]:
                    what = f"a URL or a file in an archive, {_short(remote[0])}"
                    raise DataError(
                        f"{root}: its {name} names {what}; download or unpack it, and name files of the folder"
                    )
                _check_inside(root, files, f"its {name}")


def _data_files(builder: Any) -> list[str]:
    """The files, of all splits, that the package has found."""
    return sorted(str(file) for files in (builder.config.data_files or {}).values() for file in files)


def _check_inside(root: Path, files: Iterable[str], card: str) -> None:
    """Raises DataError if a file, or a pattern of files, is not in the folder."""
    inside = root.resolve()
    for file in files:
        path = inside / file
        if ".." in path.parts or not path.is_relative_to(inside):
            raise DataError(f"{root}: {card} names a file elsewhere, {_short(file)}; only those of the folder are read")


def _texts(value: Any) -> Iterator[str]:
    """The texts in a value of YAML, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


def _version(files: Iterable[str]) -> str:
    """A hash of the files' sizes and times, of which the last, of any change at all, cannot be set."""
    digest = hashlib.blake2b(digest_size=8)
    for file in files:
        status = os.stat(file)
        digest.update(f"{file}/{status.st_size}/{status.st_mtime_ns}/{status.st_ctime_ns}/".encode())
    return digest.hexdigest()


def _of_hub(name: str, config: str | None, revision: str | None) -> Mapping[str, Any]:
    import datasets

    builder = datasets.load_dataset_builder(name, name=config, revision=revision)
    if revision is not None and builder.name == "cache":
        raise DataError(f"{name}: the hub cannot be reached, and the copy in the cache may not be revision={revision}")
    return _prepared(builder, name)


def _prepared(builder: Any, where: Path | str, **how: Any) -> Mapping[str, Any]:
    """The splits, after the data are downloaded, if they must be, and written as tables into the package's cache."""
    if builder.name not in FORMATS:
        raise DataError(
            f"{where}: its files are of the format {builder.name}; data sets of images are Parquet, Arrow, images in "
            "folders or WebDataset"
        )
    try:
        builder.download_and_prepare(**how)
    except Exception as err:
        has_archive = any(Path(file).suffix.lower() in ARCHIVES for file in _data_files(builder))
        if (
            builder.name != "imagefolder"
            or not has_archive
            or "Invalid string class label" not in str(_first_cause(err))
        ):
            raise
        raise DataError(  # it takes the name of the archive for that of the class
            f"{where}: the package datasets cannot read classes that are folders in an archive; unpack the archive, "
            "and give path=FOLDER"
        ) from err
    return _by_name(builder.as_dataset(in_memory=False))


def _by_name(found: Any) -> Mapping[str, Any]:
    import datasets

    if isinstance(found, datasets.DatasetDict):
        return {str(name): rows for name, rows in found.items()}
    return {str(found.split or "train"): found}  # one split, saved by itself


@contextmanager
def _in_words(where: str) -> Iterator[None]:
    """Inside, the package prints nothing unless a person watches, and its errors become one line."""
    from datasets.exceptions import DatasetNotFoundError

    try:
        with _quiet():
            yield
    except (MixzooError, MemoryError):
        raise
    except DatasetNotFoundError as err:
        raise DataError(
            f"{where}: no such data set on the Hugging Face hub, or it needs a login ({_first_line(err)}); a folder is "
            "path=FOLDER"
        ) from err
    except ConnectionError as err:
        raise DataError(
            f"{where}: the Hugging Face hub cannot be reached ({_first_line(err)}); try again with a network, or "
            "download the data set and give path=FOLDER"
        ) from err
    except Exception as err:  # whatever is wrong with the files, and what their readers raise for it
        cause = _first_cause(err)
        if isinstance(cause, MemoryError):  # which the package has wrapped in an error of its own
            raise cause from err
        raise DataError(f"{where}: cannot be read as a data set ({_first_line(cause)})") from err


def _first_cause(err: BaseException) -> BaseException:
    while err.__cause__ is not None:
        err = err.__cause__
    return err


def _first_line(err: BaseException) -> str:
    """What the package says, without its advice on how to write Python."""
    text = reason(err).partition("Example of usage")[0].strip().rstrip(".")
    if isinstance(err, LookupError | TypeError | AttributeError):  # which tell nothing by themselves
        text = f"a file that describes it is damaged, or a split has no rows: {type(err).__name__}: {text}"
    return _short(text)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


@contextmanager
def _quiet() -> Iterator[None]:
    """Inside, the package and that of the hub neither log nor warn, and draw bars of progress only on a terminal."""
    from datasets import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    from datasets.utils import logging
    from huggingface_hub.utils import logging as hub_logging

    level, hub_level, had_bars = logging.get_verbosity(), hub_logging.get_verbosity(), not are_progress_bars_disabled()
    logging.set_verbosity(logging.CRITICAL)
    hub_logging.set_verbosity(logging.CRITICAL)
    if had_bars and not sys.stderr.isatty():
        disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        hub_logging.set_verbosity(hub_level)
        if had_bars:
            enable_progress_bars()
