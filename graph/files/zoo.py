"""Names of models: the public zoo files that ship inside the onnx package and the networks of graph.models, so that
no download is needed.
"""

from __future__ import annotations

from pathlib import Path

import onnx

from graph.errors import ModelError
from graph.files.source import BuiltModel, Origin
from graph.models import is_model, model_names

_FILES = {
    "alexnet": "light_bvlc_alexnet.onnx",
    "densenet121": "light_densenet121.onnx",
    "inception_v1": "light_inception_v1.onnx",
    "inception_v2": "light_inception_v2.onnx",
    "resnet50": "light_resnet50.onnx",
    "shufflenet": "light_shufflenet.onnx",
    "squeezenet": "light_squeezenet.onnx",
    "vgg19": "light_vgg19.onnx",
    "zfnet512": "light_zfnet512.onnx",
}


def file_names() -> tuple[str, ...]:
    """Names of the zoo files, sorted."""
    return tuple(sorted(_FILES))


def zoo_names() -> tuple[str, ...]:
    """Names that `find_model` knows, sorted: of zoo files and of models that are built, without parameters."""
    return tuple(sorted((*_FILES, *model_names())))


def model_name(name_or_path: str) -> str:
    """What to call a model: its name as it was given, or a file's name without its suffix."""
    known = name_or_path in _FILES or is_model(name_or_path)
    return name_or_path if known else Path(name_or_path).stem


def zoo_file(name: str) -> Path:
    """The zoo file of that name."""
    return Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / _FILES[name]


def find_model(name_or_path: str) -> Origin:
    """The built model or the zoo file of that name, or the file itself for any other string.

    Raises ModelError when there is no such file.
    """
    if is_model(name_or_path):
        return BuiltModel(name_or_path)
    path = zoo_file(name_or_path) if name_or_path in _FILES else Path(name_or_path)
    try:
        found, folder = path.is_file(), path.is_dir()
    except OSError as error:
        raise ModelError(f"{name_or_path[:200]}: no path of a file ({error.strerror})") from error
    if not found:
        kind = "is a directory" if folder else "is no ordinary file" if path.exists() else "does not exist"
        raise ModelError(
            f"{path}: {kind}; expected an ONNX file or one of the names {', '.join(zoo_names())}"
        )
    return path
