"""Exported kernels give every output of the file, under its own name."""

from pathlib import Path

import numpy as np

from graph.importer import load_model
from hwmodel.__main__ import main as run_kernels
from scripts.schedule import main
from tests.graph.onnx_helpers import GraphBuilder, run


def test_outputs_that_are_views_of_one_tensor(tmp_path: Path) -> None:
    builder = GraphBuilder()
    y = builder.node("Conv", builder.input("x", 1, 3, 4, 5), builder.random(4, 3, 1, 1))
    names = [y, builder.node("Identity", y), builder.node("Reshape", y, builder.integers(1, 80))]
    path, out, source, target = (tmp_path / name for name in ("test.onnx", "out", "x.npz", "y.npz"))
    builder.save(tmp_path, *names)
    arguments = [str(path), "--machine", "tiny", "--strategies", "layerwise", "--out", str(out)]
    assert main(arguments) == 0
    feeds = {"x": np.random.default_rng(0).standard_normal((1, 3, 4, 5), dtype=np.float32)}
    np.savez(source, x=feeds["x"])
    assert run_kernels(["run", str(out / "kernels"), "--input", str(source), "--output", str(target)]) == 0
    expected = run(load_model(str(path)).reference, feeds, names)
    with np.load(target) as found:
        assert sorted(found.files) == sorted(names)
        for name in names:
            assert np.allclose(found[name], expected[name], atol=1e-3), name


def test_arrays_without_a_batch_have_the_images_in_front(tmp_path: Path) -> None:
    """A recurrent network over (T, B, D) and a scale of one dimension: two images are two runs of the file."""
    builder = GraphBuilder()
    x = builder.node("Mul", builder.input("x", 3, 1, 4), builder.input("scale", 4))
    weights = [builder.random(1, 5, 4), builder.random(1, 5, 5)]
    every, last = builder.nodes_of("RNN", 2, x, *weights, "", "", builder.input("h", 1, 1, 5), hidden_size=5)
    path, out, source, target = (tmp_path / name for name in ("test.onnx", "out", "x.npz", "y.npz"))
    builder.save(tmp_path, every, last)
    arguments = [str(path), "--machine", "tiny", "--batch", "2", "--strategies", "layerwise"]
    assert main([*arguments, "--out", str(out)]) == 0
    generator = np.random.default_rng(0)
    shapes = {"x": (2, 3, 1, 4), "scale": (2, 4), "h": (2, 1, 5)}
    feeds = {name: generator.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    np.savez(source, **feeds)
    assert run_kernels(["run", str(out / "kernels"), "--input", str(source), "--output", str(target)]) == 0
    reference = load_model(str(path)).reference
    with np.load(target) as found:
        for image in range(2):
            given = {name: array[image] for name, array in feeds.items()}
            expected = run(reference, {**given, "h": given["h"][None]}, [every, last])
            for name in (every, last):
                assert np.allclose(found[name][image].ravel(), expected[name].ravel(), atol=1e-3), name
