"""Schedule files: what is refused, and with which words."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from scheduling.candidates.defaults import Defaults
from scheduling.candidates.space import CandidateSpace
from scheduling.errors import ScheduleError
from scheduling.evaluator import Evaluator
from scheduling.rules import Rules
from scheduling.schedule import make_schedule, resolved
from scheduling.schedule_file import Schedule, WeightPlace, load_schedule, save_schedule
from scheduling.stored.replay import replay, schedule_decisions
from scheduling.timeline.arrangement import SCOPE_DRAM, SCOPE_SHORTENED, WEIGHTS_RELOADED
from scheduling.timeline.instance_order import BREADTH_FIRST
from tests.report.models import small_model

Edit = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory: pytest.TempPathFactory) -> Evaluator:
    """A small network at batch 4 on stcp920."""
    model = load_model(str(small_model(tmp_path_factory.mktemp("model"))), 4, weights=False)
    return Evaluator(model.network, load_machine("stcp920"))


@pytest.fixture
def data(evaluator: Evaluator, tmp_path: Path) -> dict[str, Any]:
    """The default schedule, cut in two so that a tensor crosses a border, as JSON data."""
    space = CandidateSpace(evaluator)
    layers = space.layers
    defaults = Defaults(space)
    halves = [defaults.choice(0, 2), defaults.choice(2, layers)]
    choices = tuple(choice for choice in halves if choice is not None)
    schedule = make_schedule(evaluator, choices, Rules(), evaluator.network.model_hash, "test")
    save_schedule(tmp_path / "s.json", schedule)
    loaded: dict[str, Any] = json.loads((tmp_path / "s.json").read_text())
    return loaded


def first_place(data: dict[str, Any]) -> dict[str, Any]:
    """The place of the tensor that is in the LLB."""
    found: dict[str, Any] = next(place for place in data["tensors"].values() if place["scope"] == "llb")
    return found


def own(first: str | None = None, last: str | None = None, **ways: int) -> Edit:
    """Gives the first sub-graph a binding for a run of its layers, all where they are not named."""

    def edit(data: dict[str, Any]) -> None:
        subgraph = data["subgraphs"][0]
        names = {
            "first_layer": first or subgraph["first_layer"],
            "last_layer": last or subgraph["last_layer"],
        }
        subgraph["own_bindings"] = [{**names, "binding": {"batch": 1, "rows": 1, "channels": 1, **ways}}]

    return edit


REFUSED: list[tuple[Edit, str]] = [
    (own(last="nowhere"), "layer 'nowhere': network test has no such layer"),
    (own(colour=1), "own_bindings.0.binding.colour: Extra inputs are not permitted"),
    (own(rows=3, channels=3), "a binding of 9 cores, stcp920 has 8"),
    (own(columns=2), "2 ways over columns with pieces along rows are not supported"),
    (own(channels=3), "has 3 cores, expected a divisor of the 8 of the sub-graph's"),
    (own("n2_Conv", "n0_Conv"), "last layer 'n0_Conv' comes before its first, 'n2_Conv'"),
    (own("n9_Softmax", "n9_Softmax"), "own_bindings: layer 'n9_Softmax' is not in the sub-graph"),
    (
        own("n2_Conv", "n2_Conv", channels=5),
        "the binding of layers n2_Conv to n2_Conv has 5 cores, expected a divisor of the 8 of the sub-graph's",
    ),
    (lambda d: d.update(version=99), "version is 99, expected 2"),
    (lambda d: d.update(batch=8), "batch is 8, expected 4"),
    (lambda d: d.update(machine="tiny"), "machine is 'tiny', expected 'stcp920'"),
    (lambda d: d.update(model_hash="0"), "model_hash is '0'"),
    (lambda d: d.update(colour="red"), "colour: Extra inputs are not permitted"),
    (lambda d: d["subgraphs"][0].update(halo="mirror"), "halo 'mirror' is not supported"),
    (
        lambda d: d["subgraphs"][0].update(halo="cache_columns"),
        "halo is 'cache_columns' with pieces along rows, expected 'recompute' or 'cache'",
    ),
    (
        lambda d: d["subgraphs"][0].update(halo="cache", cache={"memory": "l2"}),
        "cache: memory 'l2' is not supported, expected one of ('l1', 'llb', 'dram')",
    ),
    (
        lambda d: d["subgraphs"][0].update(cache={"memory": "dram"}),
        "cache: memory is 'dram' with halo 'recompute', expected 'cache'",
    ),
    (
        lambda d: d["subgraphs"][0].update(halo="cache", cache={"memory": "llb", "addresses": []}),
        "cache: 0 addresses, expected",
    ),
    (
        lambda d: d["subgraphs"][0]["binding"].update(columns=2),
        "2 ways over columns with pieces along rows are not supported, expected 1 (cores share rows)",
    ),
    (
        lambda d: d["subgraphs"][0]["split"].update(columns=0),
        "subgraphs.0.split.columns: Input should be greater than or equal to 1",
    ),
    (lambda d: d["subgraphs"][0].update(piece_axis="images"), "piece_axis 'images' is not supported"),
    (
        lambda d: d["subgraphs"][0].update(pieces=0),
        "subgraphs.0.pieces: Input should be greater than or equal to 1",
    ),
    (
        lambda d: d["subgraphs"][0].update(pieces=500),
        "500 pieces along rows, more than any of its tensors has; expected at most",
    ),
    (lambda d: d["subgraphs"][0].update(last_layer="nowhere"), "has no such layer"),
    (
        lambda d: d["subgraphs"][0].update(last_layer="n4_Relu"),
        "layer 'n4_Relu': network test has no such layer; the node of this name is part of layer 'n2_Conv'",
    ),
    (lambda d: d["subgraphs"][0]["binding"].update(batch=16), "cores, stcp920 has 8"),
    (
        lambda d: d["subgraphs"].pop(),
        "sub-graph 0 ends with layer 'n2_Conv', expected the last one to end with 'n9_Softmax'",
    ),
    (lambda d: d["tensors"].clear(), "has no place, expected one, since it leaves sub-graph 0 (n0_Conv to"),
    (
        lambda d: d["tensors"].update(ghost={"scope": "dram"}),
        "tensor 'ghost' has a place, expected places only for the tensors that leave a sub-graph",
    ),
    (
        lambda d: d["subgraphs"][0].update(first_layer="n9_Softmax"),
        "sub-graph 'n9_Softmax': its last layer, 'n2_Conv', comes before its first",
    ),
    (lambda d: d["subgraphs"].reverse(), "sub-graph 0 begins with layer"),
    (
        lambda d: d["subgraphs"][1].update(first_layer=d["subgraphs"][0]["last_layer"]),
        "sub-graph 1 begins with layer 'n2_Conv', expected 'n5_MaxPool', which sub-graph 0 leaves",
    ),
    (lambda d: d["subgraphs"].append(d["subgraphs"][1]), "expected no more layers"),
    (lambda d: d["steps"].reverse(), "whose result it reads"),
    (
        lambda d: d["steps"].pop(),
        "the steps do not name instance 0 of sub-graph 1 (n5_MaxPool to n9_Softmax), expected each of its 1, the "
        "product of its split, once",
    ),
    (
        lambda d: d["steps"].append(d["steps"][0]),
        "the steps name instance 0 of sub-graph 0 (n0_Conv to n2_Conv) again",
    ),
    (
        lambda d: d["steps"][0]["instances"][0].update(instance=9),
        "the steps name instance 9 of sub-graph 0 (n0_Conv to n2_Conv), expected less than 1",
    ),
    (
        lambda d: d["steps"].append({"instances": [{"subgraph": 7, "instance": 0}]}),
        "the steps name instance 0 of sub-graph 7, expected a sub-graph below 2",
    ),
    (
        lambda d: d["steps"][1]["instances"][0].update(first_core=1),
        "step 1: instance 0 of sub-graph",
    ),
    (lambda d: d["steps"][0].update(instances=[]), "step 0 has no instance"),
    (lambda d: d["steps"][0].update(sync="prayer"), "step 0: sync 'prayer' is not supported"),
    (lambda d: d.update(merge="at random"), "merge 'at random' is not supported"),
    (lambda d: first_place(d).update(scope="l1", addresses=[]), "scope 'l1' is not supported"),
    (
        lambda d: first_place(d).update(addresses=[]),
        "0 addresses, expected 1, one for each instance of sub-graph 0 (n0_Conv to n2_Conv)",
    ),
    (lambda d: first_place(d).update(scope="dram"), "1 addresses, expected none in dram"),
    (lambda d: first_place(d)["addresses"].__setitem__(0, 8 * 1024 * 1024), "is short by"),
    (
        lambda d: first_place(d)["addresses"].__setitem__(0, 1025),
        ": byte 1025 of the LLB, expected a multiple of the 2 bytes of an element",
    ),
    (
        lambda d: d["weights"].update(n0_Conv={"address": 3, "copied_in_waves": [0]}),
        "weights of layer 'n0_Conv': byte 3 of the LLB",
    ),
    (
        lambda d: d["weights"].update(ghost={"address": 0, "copied_in_waves": [0]}),
        "which the network has not",
    ),
    (
        lambda d: d.update(steps=[], weights={"n0_Conv": {"address": 0, "copied_in_waves": [0]}}),
        "the steps do not name instance 0 of sub-graph 0",
    ),
    (lambda d: d["subgraphs"][0]["split"].update(channels=1 << 40), "the steps do not name instance 1 of"),
    (
        lambda d: d["subgraphs"][0]["split"].update(channels="2"),
        "split.channels: Input should be a valid integer",
    ),
    (lambda d: d["subgraphs"][0]["split"].update(rows=1 << 40), "the steps do not name instance 1 of"),
    (
        lambda d: d["subgraphs"][0]["split"].update(rows=1 << 70),
        "subgraphs.0.split.rows: Input should be less",
    ),
    (lambda d: d["subgraphs"][0].update(order_a=1 << 70), "subgraphs.0.order_a: Input should be less"),
    (lambda d: first_place(d)["addresses"].__setitem__(0, 1 << 70), "addresses.0: Input should be less"),
    (lambda d: first_place(d)["addresses"].__setitem__(0, -5), "addresses.0: Input should be greater"),
]


@pytest.mark.parametrize(("edit", "message"), REFUSED)
def test_a_schedule_that_cannot_be_used_is_refused_with_a_reason(
    evaluator: Evaluator, data: dict[str, Any], tmp_path: Path, edit: Edit, message: str
) -> None:
    """Every faulty file gives a ScheduleError that says what is wrong."""
    edit(data)
    path = tmp_path / "faulty.json"
    path.write_text(json.dumps(data))
    with pytest.raises(ScheduleError) as caught:
        replay(evaluator, load_schedule(path))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "[" * 100_000, '{"version": 2}', f'{{"version": {"9" * 5000}}}']
)
def test_a_file_that_is_no_schedule_is_refused(tmp_path: Path, text: str) -> None:
    """Not JSON, not an object, too deep, or empty of keys."""
    path = tmp_path / "faulty.json"
    path.write_text(text)
    with pytest.raises(ScheduleError, match=r"faulty\.json"):
        load_schedule(path)


def test_one_own_binding_is_read_as_a_list_of_one(
    evaluator: Evaluator, data: dict[str, Any], tmp_path: Path
) -> None:
    """As in files from before there could be several; they have null where there is none."""
    run = {
        "first_layer": "n2_Conv",
        "last_layer": "n2_Conv",
        "binding": {"batch": 1, "rows": 8, "channels": 1},
    }
    for runs in ([], [run]):
        new = decisions_only(data)
        new["subgraphs"] = [{**data["subgraphs"][0], "own_bindings": runs}, *data["subgraphs"][1:]]
        old = {**new, "subgraphs": [dict(subgraph) for subgraph in new["subgraphs"]]}
        for subgraph in old["subgraphs"]:
            found = subgraph.pop("own_bindings")
            subgraph["own_binding"] = found[0] if found else None
        assert loaded(old, tmp_path) == loaded(new, tmp_path)
        replay(evaluator, loaded(old, tmp_path))


DERIVED = ("steps", "merge", "tensors", "weights", "moves")
"""What follows from rules."""


def decisions_only(data: dict[str, Any], **rules: object) -> dict[str, Any]:
    """A schedule file without what follows from rules."""
    return {key: value for key, value in data.items() if key not in DERIVED} | {"rules": rules}


def loaded(data: dict[str, Any], folder: Path) -> Schedule:
    path = folder / "edited.json"
    path.write_text(json.dumps(data))
    return load_schedule(path)


def test_places_and_order_follow_from_rules(
    evaluator: Evaluator, data: dict[str, Any], tmp_path: Path
) -> None:
    """What was left out comes back as it was, byte for byte, and steps may stay as they are."""
    whole = loaded(data, tmp_path)
    for brief in (decisions_only(data), decisions_only(data) | {"steps": data["steps"]}):
        schedule = loaded(brief, tmp_path)
        found = resolved(evaluator, schedule)
        assert found == whole and resolved(evaluator, found) is found
        save_schedule(tmp_path / "found.json", found)
        assert json.loads((tmp_path / "found.json").read_text()) == data
        assert replay(evaluator, schedule) == replay(evaluator, whole)


def test_a_split_changed_by_hand_needs_nothing_else_with_rules(
    evaluator: Evaluator, data: dict[str, Any], tmp_path: Path
) -> None:
    """Four slices instead of one: as evaluating the choices says, by each rule."""
    data["subgraphs"][0]["split"]["batch"] = 4
    data["subgraphs"][0]["binding"].update(batch=1)
    with pytest.raises(
        ScheduleError, match=r"do not name instance 1 of sub-graph 0 .* expected each of its 4"
    ):
        replay(evaluator, loaded(data, tmp_path))
    (name,) = (name for name, place in data["tensors"].items() if place["scope"] == "llb")
    number = next(k for k, tensor in enumerate(evaluator.network.tensors) if tensor.name == name)
    cases: list[tuple[dict[str, object], Rules]] = [
        ({}, Rules()),
        ({"order": "breadth first", "prefetch": 0}, Rules(order=BREADTH_FIRST, prefetch=0)),
        ({"scopes": "dram", "weights": "reloaded"}, Rules(scopes=SCOPE_DRAM, weights=WEIGHTS_RELOADED)),
        ({"scopes": "llb as long as it fits"}, Rules(scopes=SCOPE_SHORTENED)),
        ({"dram_tensors": [name]}, Rules(spilled=(number,))),
    ]
    for stored, rules in cases:
        schedule = loaded(decisions_only(data, **stored), tmp_path)
        choices, _ = schedule_decisions(evaluator, schedule)
        assert choices[0].split_batch == 4
        assert replay(evaluator, schedule) == evaluator.evaluate(choices, rules)
        again = resolved(evaluator, schedule)
        assert len(again.steps) == sum(choice.instances for choice in choices)
        assert replay(evaluator, again) == replay(evaluator, schedule)


RULES_REFUSED: list[tuple[Edit, str]] = [
    (
        lambda d: d.pop("rules"),
        "edited.json: steps: is missing, expected it or the rules that it follows from",
    ),
    (
        lambda d: d["rules"].update(order="alphabetical"),
        "rules.order: 'alphabetical' is not supported, expected",
    ),
    (lambda d: d["rules"].update(scopes="l1"), "rules.scopes: 'l1' is not supported, expected one of llb"),
    (lambda d: d["rules"].update(weights="lost"), "rules.weights: 'lost' is not supported, expected one of"),
    (lambda d: d["rules"].update(prefetch=-1), "rules.prefetch: Input should be greater than or equal to 0"),
    (lambda d: d["rules"].update(colour=1), "rules.colour: Extra inputs are not permitted"),
    (lambda d: d["rules"].update(dram_tensors=["ghost"]), "dram_tensors: network test has no tensor 'ghost'"),
    (lambda d: d.update(tensors={"t": {"scope": "dram"}}), "tensors: expected none beside rules"),
    (lambda d: d.update(weights={"n0_Conv": {"address": 0}}), "weights: expected none beside rules"),
    (lambda d: d.update(merge="earliest start"), "merge: expected none without steps"),
    (
        lambda d: d.update(steps=[{"instances": [{"subgraph": 0, "instance": 0}]}]),
        "the steps do not name instance 0 of sub-graph 1",
    ),
    (
        lambda d: d["rules"].update(order="depth first") or d.update(steps=[{"instances": []}]),
        "rules.order: expected none beside steps",
    ),
    (
        lambda d: d["subgraphs"][0].update(halo="cache", cache={"memory": "llb", "addresses": [0]}),
        "cache: 1 addresses, expected 0, since rules find them",
    ),
    *(
        (lambda d, axis=axis: d["subgraphs"][0]["split"].update({axis: 1 << 40}), words)
        for axis, words in (
            ("batch", "are more slices than images"),
            ("rows", "rows cannot be cut into"),
            ("columns", "columns cannot be cut into"),
            ("channels", "channels cannot be cut"),
        )
    ),
]


@pytest.mark.parametrize(("edit", "message"), RULES_REFUSED)
def test_rules_that_cannot_be_are_refused(
    evaluator: Evaluator, data: dict[str, Any], tmp_path: Path, edit: Edit, message: str
) -> None:
    brief = decisions_only(data)
    edit(brief)
    with pytest.raises(ScheduleError) as caught:
        replay(evaluator, loaded(brief, tmp_path))
    assert message in str(caught.value)


def test_overlapping_places_in_the_llb_are_found(
    evaluator: Evaluator, data: dict[str, Any], tmp_path: Path
) -> None:
    """Weights put where a tensor lives at the same time are refused with both names and the step."""
    place = first_place(data)
    layer = data["subgraphs"][0]["last_layer"]
    data["weights"][layer] = {"address": place["addresses"][0], "copied_in_waves": [0]}
    path = tmp_path / "faulty.json"
    path.write_text(json.dumps(data))
    with pytest.raises(ScheduleError, match="share bytes of the LLB in step"):
        replay(evaluator, load_schedule(path))


def test_weights_are_not_in_the_llb_where_nothing_copies_them(evaluator: Evaluator) -> None:
    """`tiny` has no system DMA."""
    tiny = Evaluator(evaluator.network, load_machine("tiny"))
    choices = Defaults(CandidateSpace(tiny)).complete(())
    schedule = make_schedule(tiny, choices, Rules(), evaluator.network.model_hash, "test")
    layer = evaluator.network.layers[0].name
    staged = {layer: WeightPlace(address=16 * 1024, copied_in_waves=(0,))}
    with pytest.raises(ScheduleError, match=f"weights of layer {layer} are in the LLB, expected none"):
        replay(tiny, schedule.model_copy(update={"weights": staged}))
