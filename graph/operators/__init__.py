"""The operators that can be read: one file each, from an ONNX node to an anchor, element-wise effects or a
view.
"""

from __future__ import annotations

from graph.operation import Operator
from graph.operators.add import add
from graph.operators.batch_normalization import batch_normalization
from graph.operators.clip import clip
from graph.operators.concat import concat
from graph.operators.conv import conv
from graph.operators.gemm import gemm
from graph.operators.global_pool import global_average_pool, global_max_pool
from graph.operators.identity import identity
from graph.operators.lrn import lrn
from graph.operators.matmul import matmul
from graph.operators.mul import mul
from graph.operators.pool import average_pool, max_pool
from graph.operators.relu import relu
from graph.operators.reshape import flatten, reshape, squeeze, unsqueeze
from graph.operators.softmax import softmax

OPERATORS: dict[str, Operator] = {
    "Add": add,
    "AveragePool": average_pool,
    "BatchNormalization": batch_normalization,
    "Clip": clip,
    "Concat": concat,
    "Conv": conv,
    "Dropout": identity,
    "Flatten": flatten,
    "Gemm": gemm,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "Identity": identity,
    "LRN": lrn,
    "MatMul": matmul,
    "MaxPool": max_pool,
    "Mul": mul,
    "Relu": relu,
    "Reshape": reshape,
    "Softmax": softmax,
    "Squeeze": squeeze,
    "Sum": add,
    "Unsqueeze": unsqueeze,
}
