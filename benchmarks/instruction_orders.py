"""What better orders of instructions are worth: `python -m benchmarks.instruction_orders`.

For each network a strategy's schedule, then the same schedule with its instructions in the orders that
`scheduling.strategies.instruction_ordering` finds, by list scheduling and shifts within several budgets and with
CP-SAT's windows before the shifts. Cycles are simulated and exact.
"""

from __future__ import annotations

import time

from benchmarks import _command
from benchmarks._strategies import strategy_name
from env.problems import make_problem
from scheduling.instruction_orders import ordered
from scheduling.strategies import solve
from scheduling.strategies.instruction_ordering import order_instructions

NETWORKS = ("squeezenet", "resnet50", "mobilenet_v2", "bert_base")
BUDGETS = (50, 300, 3000)


def main() -> None:
    """Print a line for each network and strategy."""
    parser = _command.parser(__file__, __doc__)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), metavar="NAME")
    parser.add_argument("--machine", default="stcp920", metavar="NAME")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument(
        "--strategies", nargs="+", default=["graphturbo", "dp"], type=strategy_name, metavar="NAME"
    )
    parser.add_argument("--budgets", nargs="+", type=int, default=list(BUDGETS), metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--cpsat", action="store_true", help="also with CP-SAT's windows (needs oncore[exact])"
    )
    options = parser.parse_args()
    variants = [
        (budget, windows) for windows in (False, True)[: 1 + options.cpsat] for budget in options.budgets
    ]
    heads = "".join(
        f"{f'{budget} cpsat' if windows else budget:>11} {'s':>6}" for budget, windows in variants
    )
    print(f"{'network':14} {'strategy':11} {'kernels':>7} {'largest':>7} {'cycles':>11}{heads}")
    for name in options.networks:
        for strategy in options.strategies:
            problem = make_problem(name, options.machine, options.batch)
            evaluator = problem.evaluator
            solution = solve(strategy, problem)
            if solution.layer_order:
                evaluator = problem.reordered(solution.layer_order).evaluator
            choices, plan = solution.choices, evaluator.arrange(solution.choices, solution.rules)
            lengths = {t.index: len(t.lowered.rows) for t in evaluator.templates.of(choices, plan)}
            cells = ""
            for budget, windows in variants:
                started = time.perf_counter()
                orders = order_instructions(
                    evaluator, choices, plan, budget=budget, seed=options.seed, windows=windows
                )
                seconds = time.perf_counter() - started
                cycles = ordered(evaluator, orders).simulate(choices, plan)[1].cycles
                cells += f"{solution.evaluation.cycles / cycles - 1:11.1%} {seconds:6.1f}"
            print(
                f"{name:14} {strategy:11} {len(lengths):7} {max(lengths.values()):7} "
                f"{solution.evaluation.cycles:11,}{cells}",
                flush=True,
            )


if __name__ == "__main__":
    _command.run(main)
