"""Where a hub model's files lie on this machine; fetched only when that is asked for."""

from pathlib import Path

from ecgrepro.errors import InputError, first_line

_CONFIG_FILES = ["*.json", "*.txt", "*.model", "*.spm"]
_REACH_SECONDS = 1.5


def weight_files(folder: Path) -> list[Path]:
    """List a model folder's weights: safetensors where there are any, else PyTorch's .bin."""
    return sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))


def find_snapshot(name: str, revision: str | None, allow_download: bool) -> Path:
    """Find a hub model's snapshot on this machine, downloading it only if allowed.

    Everything is then loaded from that folder, so transformers itself never asks the network (its own search
    takes 20 to 50 s before it gives up).

    Raises
    ------
    InputError
        The model is not here and may not, or cannot, be fetched; the text names the ways out.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.constants import ENDPOINT, HF_HUB_OFFLINE

    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
        if (folder / "config.json").is_file() and weight_files(folder):
            return folder
    except (OSError, ValueError):
        pass
    if not allow_download:
        raise InputError(
            f"The text model {name!r} is not on this machine: {_ways_out(name, revision)}"
        )
    if HF_HUB_OFFLINE or not _reachable(ENDPOINT):
        raise InputError(
            f"The text model {name!r} is not on this machine and {ENDPOINT} cannot be reached: "
            f"{_ways_out(name, revision)}"
        )
    try:
        folder = Path(
            snapshot_download(
                name, revision=revision, allow_patterns=[*_CONFIG_FILES, "*.safetensors"]
            )
        )
        if not list(folder.glob("*.safetensors")):
            snapshot_download(name, revision=revision, allow_patterns=["pytorch_model*.bin"])
    except (OSError, ValueError) as error:
        raise InputError(
            f"The download of {name!r} failed ({first_line(error)}): {_ways_out(name, revision)}"
        ) from error
    return folder


def _ways_out(name: str, revision: str | None) -> str:
    """Name the three ways to get a text model, for an error message."""
    pin = f" --revision {revision}" if revision else ""
    return (
        f"either (1) download it once where there is a network with `.venv/bin/hf download {name}{pin}` "
        "(or pass allow_download=True), (2) give the path of a local folder that holds the model, "
        "or (3) use 'lexical', the stand-in that needs no download."
    )


def _reachable(endpoint: str) -> bool:
    """Ask the hub for an answer of any kind, within seconds."""
    import requests

    try:
        requests.head(endpoint, timeout=_REACH_SECONDS)
    except requests.RequestException:
        return False
    return True
