"""The operators that can be read, one file for each family: from an ONNX node to layers, steps or a view."""

from __future__ import annotations

from graph.layering.operation import Operator
from graph.operators.activations import ACTIVATIONS
from graph.operators.arg_reduce import arg_reduce
from graph.operators.arithmetic import ARITHMETIC
from graph.operators.attention import attention
from graph.operators.batch_normalization import batch_normalization
from graph.operators.cast import cast, cast_like
from graph.operators.clip import clip
from graph.operators.concat import concat
from graph.operators.conv import conv
from graph.operators.conv_transpose import conv_transpose
from graph.operators.cum_sum import cum_sum
from graph.operators.einsum import einsum
from graph.operators.gather import gather
from graph.operators.gemm import gemm
from graph.operators.instance_normalization import group_normalization, instance_normalization
from graph.operators.lp_normalization import lp_normalization
from graph.operators.lrn import lrn
from graph.operators.matmul import matmul
from graph.operators.normalization import layer_normalization, rms_normalization
from graph.operators.pad import pad
from graph.operators.pool import average_pool, max_pool
from graph.operators.recurrent import gru, lstm, rnn
from graph.operators.reduce import REDUCTIONS
from graph.operators.reshape import flatten, identity, reshape, squeeze, transpose, unsqueeze
from graph.operators.resize import resize
from graph.operators.rotary_embedding import rotary_embedding
from graph.operators.scatter_nd import gather_nd, scatter_nd
from graph.operators.slice import depth_to_space, expand, slice_, space_to_depth, split, tile
from graph.operators.softmax import softmax
from graph.operators.trilu import trilu
from graph.operators.where import where

OPERATORS: dict[str, Operator] = {
    **ACTIVATIONS,
    **ARITHMETIC,
    **REDUCTIONS,
    "ArgMax": arg_reduce,
    "ArgMin": arg_reduce,
    "Attention": attention,
    "AveragePool": average_pool,
    "BatchNormalization": batch_normalization,
    "Cast": cast,
    "CastLike": cast_like,
    "Clip": clip,
    "Concat": concat,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "CumSum": cum_sum,
    "DepthToSpace": depth_to_space,
    "Dropout": identity,
    "Einsum": einsum,
    "Expand": expand,
    "Flatten": flatten,
    "GRU": gru,
    "Gather": gather,
    "GatherND": gather_nd,
    "Gemm": gemm,
    "GroupNormalization": group_normalization,
    "Identity": identity,
    "InstanceNormalization": instance_normalization,
    "LRN": lrn,
    "LSTM": lstm,
    "LayerNormalization": layer_normalization,
    "LogSoftmax": softmax,
    "LpNormalization": lp_normalization,
    "MatMul": matmul,
    "MaxPool": max_pool,
    "Pad": pad,
    "RMSNormalization": rms_normalization,
    "RNN": rnn,
    "Reshape": reshape,
    "Resize": resize,
    "RotaryEmbedding": rotary_embedding,
    "ScatterND": scatter_nd,
    "Slice": slice_,
    "Softmax": softmax,
    "SpaceToDepth": space_to_depth,
    "Split": split,
    "Squeeze": squeeze,
    "Tile": tile,
    "Transpose": transpose,
    "Trilu": trilu,
    "Unsqueeze": unsqueeze,
    "Upsample": resize,
    "Where": where,
}
