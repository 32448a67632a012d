"""The command's work, from options to tables and files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

from graph.head_groups import with_head_groups
from graph.importer import load_model
from graph.model import Model
from hwmodel.machines.describe import cores_text
from hwmodel.machines.machine import Machine, load_machine
from hwmodel.timing.flatten import time_program
from report.accesses import access_table, accesses
from report.breakdown import breakdown_table, schedule_breakdown
from report.decisions import compare, rules_text
from report.labels import labels
from report.occupancy import llb_bytes_in_use
from report.output import SCHEDULE, SUMMARY, TRACE, check_output, output_directory
from report.results import Result
from report.strategies import footnotes, strategy_table
from report.subgraphs import subgraph_table, subgraphs
from report.summary import summary, write_summary
from report.table import counted, number
from report.trace import write_trace
from report.utilisation import utilisation, utilisation_table
from report.verify_result import Verification
from scheduling.errors import ScheduleError
from scheduling.evaluator import Evaluator
from scheduling.layer_order import in_order
from scheduling.objective import Objective
from scheduling.schedule import make_schedule, resolved
from scheduling.schedule_file import Schedule, load_schedule, save_schedule
from scheduling.stored.replay import schedule_decisions, schedule_evaluator, schedule_to_program
from scheduling.strategies.head_groups import best_head_groups, tried_head_groups
from scripts.errors import InputError, VerificationError
from scripts.exporting import Exported, export_kernels
from scripts.options import AUTO, BASELINE, BASELINE_BATCH, CPSAT, DEFAULT_MACHINE, LEARNED, Options
from scripts.proving import proof
from scripts.solving import (
    Task,
    check_names,
    load_compiled_code,
    make_task,
    order_schedule,
    replayed,
    run_baseline,
    run_strategies,
)

Say = Callable[[str], None]

_LEAST = {
    Objective.LATENCY: "the fewest cycles",
    Objective.OFF_CORE: "the fewest off-core bytes",
    Objective.ENERGY: "the least energy",
    Objective.EDP: "the least energy-delay product",
}


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """The published baseline, a row for each strategy, layer by layer at the same batch for comparison, and the
    schedule that is kept.

    `reason` says why it is, `rules` by which rules it was made. `ordered` is the row of better orders of instructions,
    where some were found: a strategy's schedule once more, which no strategy is compared with.
    """

    task: Task
    published: Result
    rows: list[Result]
    baseline: Result
    chosen: Result
    reason: str
    rules: str
    schedule: Schedule
    ordered: Result | None = None

    @property
    def shown(self) -> list[Result]:
        """All rows of the table, in order."""
        return [self.published, *self.rows, *([] if self.ordered is None else [self.ordered])]


def run(options: Options, show: Say, progress: Say) -> None:
    """Compare strategies or replay a schedule; show tables, verify, write files.

    Raises InputError and the errors of the packages for bad input, VerificationError where kernels are wrong.
    """
    if options.out is not None:
        check_output(options.out, options.force)
    if options.policy is not None:
        from agents.policy_file import read_policy

        read_policy(options.policy)  # a wrong file is found before anything is computed
    given = None if options.replay is None else load_schedule(options.replay)
    machine = load_machine(options.machine or (DEFAULT_MACHINE if given is None else given.machine))
    if options.strategies is not None:
        check_names(options.strategies, machine, options.policy)
    batch = options.batch or (1 if given is None else given.batch)
    objective = Objective(options.objective)
    if options.head_groups == AUTO:
        options = replace(options, head_groups=_best_head_groups(options, machine, batch, show, progress))
    model = _load(options, batch, weights=False)
    network = model.network
    if model.folded.without_batch:
        progress("dimension 0 of the inputs is not the batch: all that the file takes at once is one image")
    task = make_task(network, machine, objective, options.budget, options.seed)
    progress(f"{network.name}, {counted(batch, 'image')} a cluster, on {machine.name}")
    outcome = _compare(options, task, progress) if given is None else _replay(options, task, given)
    if options.order_instructions is not None:
        outcome = _order(options, outcome, progress)
    _show(outcome, show)
    if options.breakdown:
        _show_breakdown(outcome, show)
    if options.prove:
        progress("searching the orders of least memory and of least traffic")
        show(proof(network, outcome.chosen.layer_order, machine))
    if options.verify or options.out is not None:
        _deliver(options, outcome, show, progress)


def _load(options: Options, batch: int, weights: bool) -> Model:
    return with_head_groups(load_model(options.model, batch, weights=weights), int(options.head_groups))


def _best_head_groups(options: Options, machine: Machine, batch: int, show: Say, progress: Say) -> int:
    """The number of groups of heads that the objective is best with, after showing what each one costs."""
    network = load_model(options.model, batch, weights=False).network
    load_compiled_code(
        make_task(network, machine, Objective(options.objective), options.budget, options.seed), progress
    )
    progress("trying numbers of groups of heads ...")
    began = perf_counter()
    tried = tried_head_groups(network, machine, Objective(options.objective), options.budget, options.seed)
    best = best_head_groups(tried)
    costs = ", ".join(f"{item.groups} {number(item.cost)} ({item.strategy})" for item in tried)
    found = f"Groups of heads: {best}, by {options.objective} of those tried: {costs or 'none fits'}"
    show(f"{found}; {perf_counter() - began:.1f} s, which are in no strategy's seconds\n")
    return best


def _compare(options: Options, task: Task, progress: Say) -> Outcome:
    load_compiled_code(task, progress)
    baseline = run_baseline(task, BASELINE)
    rows = run_strategies(task, options.strategies, options.policy, progress)
    if not rows:
        raise InputError("none of the strategies could be run")
    chosen = min(rows, key=lambda row: row.cost)
    reason = f"{_LEAST[task.objective]} of {len(rows)} at batch {task.network.batch}"
    order = chosen.layer_order
    evaluator = Evaluator(in_order(task.network, order), task.machine)
    schedule = make_schedule(
        evaluator, chosen.choices, chosen.rules, task.network.model_hash, chosen.strategy, bool(order)
    )
    rules = rules_text(chosen.rules, task.machine.memories.llb is not None)
    return Outcome(task, _published(options, task), rows, baseline, chosen, reason, rules, schedule)


def _replay(options: Options, task: Task, schedule: Schedule) -> Outcome:
    by_rules = schedule.rules is not None
    try:
        schedule = resolved(schedule_evaluator(task.network, task.machine, schedule), schedule)
        chosen = replayed(task, schedule)
    except ScheduleError as error:
        raise InputError(f"{options.replay}: {error}") from error
    return Outcome(
        task,
        _published(options, task),
        [chosen],
        run_baseline(task, BASELINE),
        chosen,
        f"given by {options.replay}",
        "places by the file's rules" if by_rules else "order and places as stored",
        schedule,
    )


def _order(options: Options, outcome: Outcome, progress: Say) -> Outcome:
    """The same schedule with better orders of instructions as one more row, which is chosen if it costs less."""
    progress("searching orders of instructions ...")
    found = order_schedule(
        outcome.task, outcome.schedule, outcome.chosen, options.order_instructions == CPSAT
    )
    if found is None:
        progress("no better orders of instructions were found")
        return outcome
    schedule, row = found
    return replace(
        outcome,
        ordered=row,
        chosen=row,
        reason=f"{outcome.chosen.strategy} ({outcome.reason}) with its instructions in better orders",
        schedule=schedule,
    )


def _published(options: Options, task: Task) -> Result:
    """The published baseline: layer by layer, two images at a time."""
    network = load_model(options.model, BASELINE_BATCH, weights=False).network
    two = make_task(network, task.machine, task.objective, task.budget, task.seed)
    return run_baseline(two, f"{BASELINE}_b{BASELINE_BATCH}")


def _show(outcome: Outcome, show: Say) -> None:
    task, chosen = outcome.task, outcome.chosen
    machine, network = task.machine, task.network
    show(
        f"{network.name} on {machine.name}, {cores_text(machine)}, "
        f"{machine.element}: {counted(network.batch, 'image')} a cluster, objective {task.objective}, "
        f"bound {_bound_text(task)}\n"
    )
    show(strategy_table(outcome.shown, outcome.baseline, machine, chosen.strategy))
    for note in footnotes(outcome.shown, machine, network.batch):
        show(note)
    published = outcome.published
    show(
        f"\n* chosen: {chosen.strategy}, {outcome.reason}; "
        f"{chosen.times_faster(published):.2f} times the images per second of {published.strategy}.\n"
    )
    evaluator = schedule_evaluator(network, machine, outcome.schedule)
    show(f"Sub-graphs of {chosen.strategy}: {outcome.rules}\n")
    show(subgraph_table(subgraphs(evaluator, *schedule_decisions(evaluator, outcome.schedule))))
    others = [row for row in outcome.rows if row.strategy != LEARNED]
    # What refinements add behind another strategy, they could add behind this one.
    compared = [row for row in others if "+" not in row.strategy] or others
    learned = [row for row in outcome.rows if row.strategy == LEARNED]
    if learned and compared:
        show(compare(network, learned[0], compared, task.objective.value))


def _show_breakdown(outcome: Outcome, show: Say) -> None:
    """What every cycle of the chosen schedule goes into, how busy the machine is, and what its memories move."""
    machine = outcome.task.machine
    evaluator = schedule_evaluator(outcome.task.network, machine, outcome.schedule)
    program = schedule_to_program(evaluator, outcome.schedule)
    decisions = schedule_decisions(evaluator, outcome.schedule)
    timing = time_program(program, machine)
    show(f"Cycles of {outcome.chosen.strategy} along the critical path, by what they go into\n")
    show(breakdown_table(schedule_breakdown(evaluator, *decisions, program, timing)))
    show("How busy engines and links are while each sub-graph runs\n")
    show(utilisation_table(utilisation(evaluator, *decisions, program, timing)))
    show("Reads and writes of every memory, all cores of the cluster together, and their energy\n")
    show(access_table(accesses(outcome.chosen.evaluation, machine)))


def _bound_text(task: Task) -> str:
    """The bound of the objective."""
    least, limit = task.bound.of(task.objective), task.bound.limit
    return {
        Objective.LATENCY: f"{number(least)} cycles ({limit.upper() if limit == 'dram' else limit})",
        Objective.OFF_CORE: f"{number(least / 1e6, 1)} MB",
        Objective.ENERGY: f"{number(least * 1e-9, 3)} mJ",
        Objective.EDP: f"{number(least * 1e-9)} mJ x cycles",
    }[task.objective]


def _deliver(options: Options, outcome: Outcome, show: Say, progress: Say) -> None:
    task, chosen = outcome.task, outcome.chosen
    progress("writing kernels")
    model = _load(options, task.network.batch, weights=True)
    evaluator = schedule_evaluator(model.network, task.machine, outcome.schedule)
    with _folder(options) as folder:
        exported = export_kernels(folder, model, evaluator, outcome.schedule, chosen.evaluation)
        verification = None
        if options.verify:
            from report.verify import verify

            verification = verify(
                model,
                exported.program,
                exported.machine,
                exported.weights,
                seed=options.seed,
                progress=progress,
            )
            show(verification.sentence)
            if not verification.passed:
                raise VerificationError(_difference(verification))
        if options.out is not None:
            _write(folder, options, outcome, evaluator, exported, verification)
    if options.out is not None:
        show(f"Wrote {options.out}.")


def _difference(verification: Verification) -> str:
    if verification.fp32.passed:
        return "only fp16 differs from onnxruntime's by more than its limit: rounding or overflow, not wrong kernels"
    return "the outputs differ from onnxruntime's"


def _write(
    folder: Path,
    options: Options,
    outcome: Outcome,
    evaluator: Evaluator,
    exported: Exported,
    verification: Verification | None,
) -> None:
    task = outcome.task
    save_schedule(folder / SCHEDULE, outcome.schedule)
    choices, plan = schedule_decisions(evaluator, outcome.schedule)
    write_trace(
        folder / TRACE,
        exported.program,
        exported.machine,
        exported.timing,
        labels(evaluator, choices, plan, exported.program),
        llb_bytes_in_use(evaluator, choices, plan).tolist(),
    )
    content = summary(
        task.network,
        int(options.head_groups),
        task.machine,
        task.objective,
        task.bound,
        outcome.shown,
        outcome.chosen,
        outcome.reason,
        verification,
        schedule_breakdown(evaluator, choices, plan, exported.program, exported.timing),
        utilisation(evaluator, choices, plan, exported.program, exported.timing),
    )
    write_summary(folder / SUMMARY, content)


@contextmanager
def _folder(options: Options) -> Iterator[Path]:
    """Where kernels are written: beside the output directory, or a temporary folder."""
    if options.out is not None:
        with output_directory(options.out, options.force) as folder:
            yield folder
    else:
        with tempfile.TemporaryDirectory(prefix="oncore-") as name:
            yield Path(name)
