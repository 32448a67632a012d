"""Counts: multiply-accumulates and elements of a network, exact and independent of any machine."""

from __future__ import annotations

from graph.network import Layer, Network
from graph.primitives import Contraction, Embedding, MatMul


def layer_macs(network: Network, layer: Layer) -> int:
    """Multiply-accumulates of one image in a layer's contraction or product, padding counted; 0 for other
    anchors.
    """
    anchor = layer.anchor
    if isinstance(anchor, MatMul):
        return network.tensors[layer.output].elements * anchor.reduction
    if not isinstance(anchor, Contraction):
        return 0
    return network.tensors[layer.output].elements * anchor.taps * (anchor.in_channels // anchor.groups)


def macs_per_image(network: Network) -> int:
    """Multiply-accumulates of one image in all layers."""
    return sum(layer_macs(network, layer) for layer in network.layers)


def weight_elements(layer: Layer) -> int:
    """Elements of a layer's weight (or table) and parameters, also where the weights were not loaded."""
    anchor = layer.anchor
    elements = sum(parameter.size for parameter in layer.parameters)
    if isinstance(anchor, Contraction):
        elements += anchor.out_channels * anchor.taps * (anchor.in_channels // anchor.groups)
    if isinstance(anchor, Embedding):
        elements += anchor.entries * anchor.channels
    return elements


def weight_elements_total(network: Network) -> int:
    """Elements of all weights, tables, parameters and constants, after folding; what layers share counts once."""
    constants = sum(network.tensors[index].elements for index in network.constants)
    return sum(weight_elements(layer) for layer in network.layers if layer.shares is None) + constants


def activation_elements_per_image(network: Network) -> int:
    """Elements of all tensors of one image, graph inputs and outputs included, constants not."""
    return sum(item.elements for i, item in enumerate(network.tensors) if i not in network.constants)
