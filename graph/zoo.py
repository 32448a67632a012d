"""Names of the public model-zoo files that ship inside the onnx package, so that no download is needed."""

from __future__ import annotations

from pathlib import Path

import onnx

from graph.errors import ModelError

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


def zoo_names() -> tuple[str, ...]:
    """Names that `find_model` knows, sorted."""
    return tuple(sorted(_FILES))


def find_model(name_or_path: str) -> Path:
    """Path of a zoo model by name, or of the file itself for any other string.

    Raises ModelError when there is no such file.
    """
    if name_or_path in _FILES:
        path = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / _FILES[name_or_path]
    else:
        path = Path(name_or_path)
    if not path.is_file():
        kind = "is a directory" if path.is_dir() else "does not exist"
        raise ModelError(
            f"{path}: {kind}; expected an ONNX file or one of the zoo names {', '.join(zoo_names())}"
        )
    return path
