"""Conv: one- and two-dimensional convolution, grouped and dilated, with constant weights."""

from __future__ import annotations

import numpy as np

from graph.layering.effects import Affine
from graph.layering.operation import Anchored, Operation
from graph.layering.values import stored_value
from graph.network import RegionMap
from graph.operators.linear import channel_blocks
from graph.operators.windows import window_axes
from graph.primitives import Contraction


def conv(operation: Operation) -> Anchored:
    """A Contraction, followed by the bias if there is one."""
    value = operation.map_input()
    weight = operation.weight(1)
    groups = operation.integer("group", 1)
    if weight.ndim != value.rank:
        raise operation.error(
            f"the weight has {weight.ndim} dimensions; expected {value.rank} (K, C/groups, kernel)"
        )
    outputs, inputs, kernel = int(weight.shape[0]), int(weight.shape[1]), weight.shape[2:]
    if groups < 1 or outputs % groups or inputs * groups != value.channels:
        raise operation.error(
            f"{groups} groups with a weight of shape {list(weight.shape)} on {value.channels} channels; "
            f"expected K a multiple of groups and C/groups channels"
        )
    declared = operation.attributes.get("kernel_shape")
    if declared is not None and tuple(declared) != kernel:
        raise operation.error(
            f"attribute kernel_shape is {list(declared)}; expected {list(kernel)} as the weight"
        )
    rows, columns = window_axes(operation, value, kernel)
    bias = operation.optional_constant(2)
    if bias is not None and bias.shape != (outputs,):
        raise operation.error(f"the bias has shape {list(bias.shape)}; expected [{outputs}]")
    return Anchored(
        anchor=Contraction(
            out_channels=outputs,
            in_channels=value.channels,
            kernel_h=rows.kernel,
            kernel_w=columns.kernel,
            stride_h=rows.stride,
            stride_w=columns.stride,
            dilation_h=rows.dilation,
            dilation_w=columns.dilation,
            pad_top=rows.pad_start,
            pad_left=columns.pad_start,
            pad_bottom=rows.pad_end,
            pad_right=columns.pad_end,
            groups=groups,
        ),
        inputs=(value,),
        maps=(RegionMap(rows.axis_map, columns.axis_map, channel_blocks(groups, outputs // groups, inputs)),),
        output=stored_value(
            [value.dims[0], outputs, *[rows.size, columns.size][: value.rank - 2]],
            rows=[2],
            columns=range(3, value.rank),
            channels=[1],
        ),
        weight=weight.reshape(outputs, inputs, rows.kernel, columns.kernel),
        effects=() if bias is None else (Affine(shift=bias.astype(np.float64)),),
    )
