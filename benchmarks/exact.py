"""What the exact methods prove, and how fast: `python -m benchmarks.exact --minimalloc FOLDER`.

Orders with the least peak, seconds for 200 graphs of 30 operators, least traffic over capacities, and, with a folder
of the minimalloc benchmark's CSV files (NAME.CAPACITY.csv with columns id, lower, upper, size), address assignment.
`--only TABLE` prints one of the tables.
"""

from __future__ import annotations

import csv
import itertools
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks import _command
from graph.importer import load_model
from scheduling.exact.addresses import Addresses, Buffer, address_assignment
from scheduling.exact.memory import decomposed, least_memory
from scheduling.exact.operator_graph import OperatorGraph, operator_graph, part, peak_bytes
from scheduling.exact.traffic import least_traffic

NETWORKS = (
    "squeezenet",
    "inception_v1",
    "densenet121",
    "resnext29",
    "randwire",
    "nasnet_cifar",
    "nasnet_mobile",
)
SLICES = (
    ("randwire", 1, 24),
    ("randwire", 1, 40),
    ("nasnet_cifar", 0, 24),
    ("nasnet_cifar", 100, 130),
    ("densenet121", 120, 150),
    ("inception_v1", 3, 24),
)
SOLVERS = ("search", "cpsat")
TABLES = ("orders", "thirty", "traffic", "addresses")
ELEMENT_BYTES = 2


def main() -> None:
    """Print the tables; what compiles is run once before."""
    parser = _command.parser(__file__, __doc__)
    parser.add_argument("--only", choices=TABLES, action="append", help="a table; default: all")
    parser.add_argument("--minimalloc", type=Path, metavar="FOLDER", help="folder of CSV files")
    parser.add_argument(
        "--solver",
        choices=SOLVERS,
        default=SOLVERS[0],
        help="of --minimalloc: the project's search, or CP-SAT with two workers (needs oncore[exact])",
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="for each instance of --minimalloc")
    options = parser.parse_args()
    least_traffic(random_dag(6, 0.4, 0), max(random_dag(6, 0.4, 0).working_set_bytes))
    address_assignment([Buffer(0, 1, 1)], 1)
    wanted = options.only or TABLES
    if "orders" in wanted:
        orders()
    if "thirty" in wanted:
        thirty()
    if "traffic" in wanted:
        traffic()
    if "addresses" in wanted and options.minimalloc:
        addresses(options.minimalloc, options.seconds, options.solver)


def random_dag(operators: int, density: float, seed: int) -> OperatorGraph:
    """An operator makes one tensor of 1 to 100 bytes; any later one reads it with a probability."""
    rng = random.Random(seed)
    readers = [tuple(b for b in range(a + 1, operators) if rng.random() < density) for a in range(operators)]
    sizes = tuple(rng.randint(1, 100) for _ in range(operators))
    return OperatorGraph(tuple(map(str, range(operators))), sizes, tuple(range(operators)), tuple(readers))


def randwire_cell(operators: int, neighbours: int, probability: float, seed: int) -> OperatorGraph:
    """A Watts-Strogatz graph with edges from lower to higher index; each node makes one tensor of 1000 bytes."""
    rng = random.Random(seed)
    edges = {
        frozenset((a, (a + d) % operators)) for a in range(operators) for d in range(1, neighbours // 2 + 1)
    }
    for d in range(1, neighbours // 2 + 1):
        for a in range(operators):
            if rng.random() < probability:
                free = [b for b in range(operators) if b != a and frozenset((a, b)) not in edges]
                edges.remove(frozenset((a, (a + d) % operators)))
                edges.add(frozenset((a, rng.choice(free))))
    pairs = sorted(tuple(sorted(edge)) for edge in edges)
    readers = tuple(tuple(b for a, b in pairs if a == node) for node in range(operators))
    sinks = frozenset(node for node in range(operators) if not readers[node])
    names = tuple(map(str, range(operators)))
    return OperatorGraph(names, (1000,) * operators, tuple(range(operators)), readers, sinks)


def bipartite_dag(operators: int, density: float, seed: int) -> OperatorGraph:
    """The first half of the operators make one tensor each of 1 to 100 bytes, which each of the others, that make one
    too, reads with a probability."""
    rng = random.Random(seed)
    half = operators // 2
    readers = [
        tuple(b for b in range(half, operators) if a < half and rng.random() < density)
        for a in range(operators)
    ]
    sizes = tuple(rng.randint(1, 100) for _ in range(operators))
    return OperatorGraph(tuple(map(str, range(operators))), sizes, tuple(range(operators)), tuple(readers))


def order_cases() -> Iterator[tuple[str, OperatorGraph]]:
    """Names and graphs of the first table."""
    for operators, density in itertools.product((30, 40, 50), (0.1, 0.2)):
        for seed in range(3):
            yield f"random {operators} {density} #{seed}", random_dag(operators, density, seed)
    for seed in range(6):
        yield f"WS(32, 4, 0.75) #{seed}", randwire_cell(32, 4, 0.75, seed)
    for name in NETWORKS:
        yield name, operator_graph(load_model(name, 1, weights=False).network, ELEMENT_BYTES)


def orders() -> None:
    """File order's peak and least peak."""
    print(f"{'least peak memory':24} {'nodes':>5} {'largest part':>12} {'file bytes':>10} {'least':>10} {'bound':>10} "
          f"{'proven':>6} {'s':>7}")  # fmt: skip
    for name, graph in order_cases():
        file_order = peak_bytes(graph, range(len(graph.names)))
        started = time.perf_counter()
        found = least_memory(graph)
        seconds = time.perf_counter() - started
        largest = max(map(len, decomposed(graph)))
        print(f"{name:24} {len(graph.names):5} {largest:12} {file_order:10} {found.peak_bytes:10} "
              f"{found.bound_bytes:10} {'yes' if found.proven else 'no':>6} {seconds:7.2f}", flush=True)  # fmt: skip


def thirty() -> None:
    """Seconds of processor time for the least peaks of 200 graphs of 30 operators, 20 of each kind."""
    kinds = [
        (f"random {density}", partial(random_dag, 30, density))
        for density in (0.03, 0.05, 0.1, 0.2, 0.3, 0.5)
    ]
    kinds += [(f"bipartite {density}", partial(bipartite_dag, 30, density)) for density in (0.2, 0.4)]
    kinds += [(f"WS(30, 4, {p})", partial(randwire_cell, 30, 4, p)) for p in (0.25, 0.75)]
    least_memory(random_dag(30, 0.1, 0))
    print(f"\n{'30 operators':24} {'proven':>6} {'median s':>8} {'most s':>8}")
    for name, make in kinds:
        proven, seconds = 0, []
        for seed in range(20):
            graph = make(seed)
            started = time.process_time()
            proven += least_memory(graph).proven
            seconds.append(time.process_time() - started)
        print(f"{name:24} {proven:6} {statistics.median(seconds):8.3f} {max(seconds):8.3f}", flush=True)


def traffic() -> None:
    """Least traffic from the largest working set to the least peak."""
    print(f"\n{'least traffic':24} {'nodes':>5} {'capacity':>10} {'compulsory':>10} {'beyond':>10} {'bound':>10} "
          f"{'proven':>6} {'s':>7}")  # fmt: skip
    cases = [
        (
            f"{name} {first}:{stop}",
            part(
                operator_graph(load_model(name, 1, weights=False).network, ELEMENT_BYTES), range(first, stop)
            ),
        )
        for name, first, stop in SLICES
    ]
    cases += [(f"random 15 0.2 #{seed}", random_dag(15, 0.2, seed)) for seed in range(2)]
    cases += [(f"WS({n}, 4, 0.75) #0", randwire_cell(n, 4, 0.75, 0)) for n in (16, 32)]
    for name, graph in cases:
        largest, peak = max(graph.working_set_bytes), least_memory(graph).peak_bytes
        for quarter in sorted({largest + (peak - largest) * q // 4 for q in range(5)}):
            started = time.perf_counter()
            found = least_traffic(graph, quarter)
            seconds = time.perf_counter() - started
            compulsory = found.compulsory_bytes
            print(f"{name:24} {len(graph.names):5} {quarter:10} {compulsory:10} "
                  f"{found.traffic_bytes - compulsory:10} {found.bound_bytes - compulsory:10} "
                  f"{'yes' if found.proven else 'no':>6} {seconds:7.2f}", flush=True)  # fmt: skip


def addresses(folder: Path, seconds: float, solver: str) -> None:
    """Instances of the minimalloc benchmark; every solution is checked."""
    if solver == SOLVERS[0]:
        solve = partial(address_assignment, nodes=2**40, seconds=seconds)
    else:
        from scheduling.exact.address_model import address_assignment_by_cpsat

        solve = partial(address_assignment_by_cpsat, seconds=seconds, workers=2)
    print(f"\n{'address assignment':20} {'buffers':>7} {'capacity':>9} {'answer':>10} {'checked':>7} {'nodes':>9} "
          f"{'s':>7}")  # fmt: skip
    for path in sorted(folder.glob("*.csv")):
        name, capacity = path.stem.split(".")
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        buffers = [Buffer(int(row["lower"]), int(row["upper"]), int(row["size"])) for row in rows]
        started = time.perf_counter()
        found = solve(buffers, int(capacity))
        spent = time.perf_counter() - started
        valid = {True: "yes", False: "WRONG"}[holds(buffers, found, int(capacity))]
        print(f"{name:20} {len(buffers):7} {capacity:>9} {found.answer.value:>10} "
              f"{valid if found.offsets else '-':>7} {found.nodes:9} {spent:7.2f}", flush=True)  # fmt: skip


def holds(buffers: Sequence[Buffer], found: Addresses, capacity: int) -> bool:
    """Whether offsets are inside the capacity and no two buffers overlap."""
    placed = list(zip(buffers, found.offsets, strict=False))
    return all(0 <= at <= capacity - buffer.size_bytes for buffer, at in placed) and not any(
        a.begin < b.end and b.begin < a.end and at < other + b.size_bytes and other < at + a.size_bytes
        for (a, at), (b, other) in itertools.combinations(placed, 2)
    )


if __name__ == "__main__":
    _command.run(main)
