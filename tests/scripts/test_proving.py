"""What --prove says of traffic: a proof, a bound above nothing, or that there is neither."""

from scheduling.exact.operator_graph import OperatorGraph
from scheduling.exact.traffic import LeastTraffic
from scripts.proving import traffic_proof, what_is_known


def test_traffic_of_a_chain_by_hand() -> None:
    """Tensors of 10, 20, 20 and 10 bytes, each made from the one before, the last also from the first. Beside the two
    in the middle a memory of 40 bytes has no room for the first, which is written and read again."""
    graph = OperatorGraph(
        ("a", "b", "c", "d"), (10, 20, 20, 10), (0, 1, 2, 3), ((1, 3), (2,), (3,), ()), frozenset({3})
    )
    said = traffic_proof(graph, (0, 1, 2, 3), 32)
    assert said == (
        "Traffic beyond the compulsory 10 bytes, layer by layer with 40 bytes on chip, which the largest layer needs "
        "(there are 32): 20 bytes in the schedule's order, 20 in the best plan found (proven)."
    )
    assert ": 0 bytes in the schedule's order, 0 in the" in traffic_proof(graph, (0, 1, 2, 3), 50)


def test_a_bound_is_said_where_it_says_something() -> None:
    """Traffic of 100 bytes, 40 of which are compulsory."""
    assert what_is_known(LeastTraffic((), 100, 40, 100)) == "proven"
    assert what_is_known(LeastTraffic((), 100, 40, 70)) == "no plan has less than 30"
    assert what_is_known(LeastTraffic((), 100, 40, 40)) == "not proven: a plan may have none"
