"""The operators that can be read, one file for each family: from an ONNX node to layers, steps or a view."""

from __future__ import annotations

from graph.operation import Operator
from graph.operators.activations import ACTIVATIONS
from graph.operators.arithmetic import ARITHMETIC
from graph.operators.batch_normalization import batch_normalization
from graph.operators.clip import clip
from graph.operators.concat import concat
from graph.operators.conv import conv
from graph.operators.gather import gather
from graph.operators.gemm import gemm
from graph.operators.lrn import lrn
from graph.operators.matmul import matmul
from graph.operators.normalization import layer_normalization, rms_normalization
from graph.operators.pool import average_pool, max_pool
from graph.operators.reduce import REDUCTIONS
from graph.operators.reshape import flatten, identity, reshape, squeeze, transpose, unsqueeze
from graph.operators.softmax import softmax

OPERATORS: dict[str, Operator] = {
    **ACTIVATIONS,
    **ARITHMETIC,
    **REDUCTIONS,
    "AveragePool": average_pool,
    "BatchNormalization": batch_normalization,
    "Clip": clip,
    "Concat": concat,
    "Conv": conv,
    "Dropout": identity,
    "Flatten": flatten,
    "Gather": gather,
    "Gemm": gemm,
    "Identity": identity,
    "LRN": lrn,
    "LayerNormalization": layer_normalization,
    "LogSoftmax": softmax,
    "MatMul": matmul,
    "MaxPool": max_pool,
    "RMSNormalization": rms_normalization,
    "Reshape": reshape,
    "Softmax": softmax,
    "Squeeze": squeeze,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
