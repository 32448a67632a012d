"""The environment: checkers, masks, rewards, determinism, refusals."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stable_baselines3.common.env_checker import check_env as stable_baselines_check

import env
from agents.generate import FAMILIES, generate
from env.building import INSTANCES, INSTRUCTIONS, PHASES, SUBGRAPHS
from env.features import CANDIDATE, GLOBAL, LIMIT, MOST_ACTIONS, C
from env.problems import make_problem
from env.schedule_env import ILLEGAL_REWARD, REWARD_SCALE, ScheduleEnv
from graph.head_groups import with_head_groups
from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from scheduling.choice import Choice
from scheduling.evaluator import Evaluator
from scheduling.objective import Objective
from scheduling.rules import Rules
from tests.hwmodel.machine_variants import without_llb


@pytest.fixture(scope="module")
def small() -> ScheduleEnv:
    return ScheduleEnv("alexnet", batch=2, phases=PHASES)


def play(made: ScheduleEnv, rng: np.random.Generator):
    """One random masked episode: observations, rewards, the last info."""
    observation, _ = made.reset()
    seen, rewards = [observation], []
    while True:
        offered = np.flatnonzero(made.action_masks())
        observation, reward, terminated, truncated, info = made.step(rng.choice(offered))
        seen.append(observation)
        rewards.append(reward)
        assert not truncated
        if terminated:
            return seen, rewards, info


@pytest.mark.filterwarnings("ignore:.*")
def test_public_checkers_pass():
    made = gymnasium.make(env.ID, network="alexnet", batch=2, disable_env_checker=True)
    gymnasium_check(made.unwrapped, skip_render_check=True)
    stable_baselines_check(made.unwrapped)


def test_return_is_the_gain_over_the_default(small):
    rng = np.random.default_rng(0)
    for _ in range(5):
        _, rewards, info = play(small, rng)
        assert sum(rewards) == pytest.approx(REWARD_SCALE * np.log(info["default_cost"] / info["cost"]))


def test_a_network_in_groups_of_heads_is_one_like_any_other():
    """Its episodes decide where groups end, and a schedule found in it is one of that network."""
    model = load_model("bert_base:sequence=8,layers=1,width=32,heads=4,vocabulary=20", 2, weights=False)
    made = ScheduleEnv(with_head_groups(model, 2).network)
    _, rewards, info = play(made, np.random.default_rng(2))
    assert made.problem.evaluator.network.name.endswith("in 2 groups of heads")
    assert sum(rewards) == pytest.approx(REWARD_SCALE * np.log(info["default_cost"] / info["cost"]))


def test_final_figures_are_those_of_a_fresh_simulation(small):
    _, _, info = play(small, np.random.default_rng(1))
    evaluator = Evaluator(small.problem.evaluator.network, small.problem.evaluator.machine)
    again = evaluator.evaluate([Choice(*c) for c in info["choices"]], Rules(**info["rules"]))
    assert (again.cycles, again.kernels, again.energy_pj) == (
        info["cycles"],
        info["kernels"],
        info["energy_pj"],
    )
    assert again.counts._asdict() == {name: info[name] for name in again.counts._fields}
    assert info["bound_cycles"] <= info["cycles"]
    assert info["relative_to_layerwise"] == pytest.approx(info["cycles"] / info["layerwise_cost"])


def test_same_seed_same_episodes():
    runs = []
    for _ in range(2):
        made = ScheduleEnv("alexnet", batch=2)
        made.reset(seed=3)
        made.action_space.seed(3)
        runs.append([play(made, np.random.default_rng(5)) for _ in range(2)])
    for (seen, rewards, info), (other_seen, other_rewards, other_info) in zip(*runs, strict=True):
        assert rewards == other_rewards and info == other_info
        for one, two in zip(seen, other_seen, strict=True):
            assert all(np.array_equal(one[key], two[key]) for key in one)


def test_observations_are_finite_bounded_and_not_shared(small):
    seen, _, _ = play(small, np.random.default_rng(2))
    for observation in seen:
        assert observation["candidates"].shape == (MOST_ACTIONS, len(CANDIDATE))
        assert observation["context"].shape == (len(GLOBAL),)
        for values in observation.values():
            assert np.isfinite(values).all() and (np.abs(values) <= LIMIT).all()
    assert not np.shares_memory(seen[0]["candidates"], seen[1]["candidates"])


def test_observations_are_finite_without_a_last_level_buffer():
    made = ScheduleEnv("squeezenet", without_llb(load_machine("stcp920")), batch=2, phases=PHASES)
    seen, _, info = play(made, np.random.default_rng(0))
    for observation in seen:
        for values in observation.values():
            assert np.isfinite(values).all() and (np.abs(values) <= LIMIT).all()
    assert (observation["candidates"][:, C["spill"]] == 0).all()
    assert info["cycles"] > 0


def test_rows_exist_where_the_mask_allows(small):
    observation, _ = small.reset()
    assert np.array_equal(observation["candidates"][:, C["exists"]] == 1, small.action_masks())
    assert observation["candidates"][:, C["is_default"]].sum() == 1


def test_masked_action_changes_nothing_costs_and_is_explained():
    made = ScheduleEnv("alexnet", batch=2)
    before, _ = made.reset()
    offered = int(made.action_masks().sum())
    after, reward, terminated, truncated, info = made.step(offered)
    assert reward == ILLEGAL_REWARD < 0
    assert not terminated and not truncated
    assert f"action {offered}" in info["illegal_action"] and str(offered) in info["illegal_action"]
    assert all(np.array_equal(before[key], after[key]) for key in before)
    for _ in range(made.most_steps - 2):
        assert not made.step(MOST_ACTIONS - 1)[3]
    assert made.step(MOST_ACTIONS - 1)[3]


def test_choosing_the_default_everywhere_is_worth_nothing():
    made = ScheduleEnv("alexnet", batch=2, phases=PHASES)
    observation, _ = made.reset()
    total = 0.0
    terminated = False
    while not terminated:
        action = int(np.argmax(observation["candidates"][:, C["is_default"]]))
        observation, reward, terminated, _, info = made.step(action)
        total += reward
    assert total == pytest.approx(0.0)
    assert info["relative_to_default"] == pytest.approx(1.0)


@pytest.mark.parametrize("phases", [(SUBGRAPHS,), (INSTANCES,), (INSTRUCTIONS,), (INSTANCES, INSTRUCTIONS)])
def test_phases_can_be_left_out(phases):
    # Its default has pieces, so there is something to decide in every phase.
    made = ScheduleEnv("squeezenet", batch=2, phases=phases)
    seen, rewards, info = play(made, np.random.default_rng(1))
    assert len(seen) > 1
    assert sum(rewards) == pytest.approx(-REWARD_SCALE * np.log(info["relative_to_default"]))


def test_phases_that_leave_nothing_to_decide_are_refused():
    # Its default has no pieces, so no order of instructions is open.
    made = ScheduleEnv("alexnet", batch=2, phases=(INSTRUCTIONS,))
    with pytest.raises(gymnasium.error.Error, match="the phases leave nothing to decide"):
        made.reset(seed=0)


@pytest.mark.parametrize("objective", list(Objective))
def test_every_objective(objective):
    made = ScheduleEnv("alexnet", batch=2, objective=objective)
    _, rewards, info = play(made, np.random.default_rng(0))
    assert sum(rewards) == pytest.approx(-REWARD_SCALE * np.log(info["relative_to_default"]))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"phases": ()}, "phases are"),
        ({"phases": ("order",)}, "order"),
        ({"objective": "speed"}, "speed"),
        ({"machine": "none"}, "no machine is called 'none'"),
        ({"network": "none.onnx"}, "none.onnx"),
        ({"batch": 0}, "batch is 0"),
    ],
)
def test_refusals(settings, words):
    with pytest.raises(ValueError, match=words):
        ScheduleEnv(**{"network": "alexnet", **settings})


def test_step_before_reset_is_refused():
    with pytest.raises(gymnasium.error.ResetNeeded):
        ScheduleEnv("alexnet").step(0)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(FAMILIES),
    st.integers(0, 30),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([0.5, 1.0, 2.0]),
    st.booleans(),
    st.integers(0, 1000),
)
def test_every_offered_action_can_be_lowered(family, network_seed, batch, l1, llb, seed):
    """Random masked episodes on random networks and machines never meet a schedule that does not fit."""
    machine = load_machine("stcp920").varied(l1=l1)
    if not llb:
        machine = without_llb(machine)
    network = generate(family, network_seed, batch)
    made = ScheduleEnv(network, machine, phases=PHASES)
    rng = np.random.default_rng(seed)
    _, rewards, info = play(made, rng)
    assert sum(rewards) == pytest.approx(-REWARD_SCALE * np.log(info["relative_to_default"]))
    assert [c[0] for c in info["choices"][1:]] == [c[1] for c in info["choices"][:-1]]
    assert info["choices"][-1][1] == len(network.layers)


def test_problem_of_a_network_object():
    problem = make_problem(generate("chain", 1, 2), "tiny")
    assert problem.space.layers == len(problem.evaluator.network.layers)
