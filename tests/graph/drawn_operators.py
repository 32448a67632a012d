"""How a random legal node of each operator is drawn: the drawing functions of all families, registered by importing
them."""

from tests.graph.drawn import elementwise, loops, products, reductions, views
from tests.graph.drawn.registry import DRAWS, OPSETS, USUAL

__all__ = ["DRAWS", "FAMILIES", "OPSETS", "USUAL"]

FAMILIES = (elementwise, loops, products, reductions, views)
