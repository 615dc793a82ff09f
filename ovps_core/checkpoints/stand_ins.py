"""Files that stand where weights should: pointers of git-lfs, web pages, empty downloads, shards."""

from __future__ import annotations

from pathlib import Path

from ovps_core.errors import CheckpointError

_HEAD = 512  # bytes that tell


def refuse_stand_in(path: Path) -> None:
    """Check the first bytes of a weights file.

    Raises:
        CheckpointError: the file is something else; the message says what, and what to do.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD).lstrip()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    if not head:
        raise CheckpointError(
            f"{path} is empty: the download or the copy was stopped; get it again"
        )
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            f"{path} is a pointer of git-lfs, not the weights: run `git lfs pull` where it was cloned"
        )
    if head[:1] == b"<" or head[:9].lower() == b"<!doctype":
        raise CheckpointError(
            f"{path} is a web page, not weights: open its address in a browser and download the file"
        )


def refuse_shards(folder: Path) -> None:
    """Check that a folder's weights are not split over several files.

    Raises:
        CheckpointError: they are.
    """
    index = next(iter(sorted(folder.glob("*.index.json"))), None)
    if index is not None:
        raise CheckpointError(
            f"the weights in {folder} are split into several files ({index.name}); save them as one: "
            'load them with transformers, then save_pretrained(FOLDER, max_shard_size="100GB")'
        )
