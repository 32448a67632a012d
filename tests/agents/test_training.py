"""Training: it learns, resumes, and refuses what does not fit."""

import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import MaskablePPO

from agents.checkpoint import read_checkpoint, restore, write_checkpoint
from agents.config import TrainingConfig, load_config
from agents.errors import TrainingError
from agents.generate import FAMILIES, generate
from agents.inference import decode, load_policy
from agents.instances import Instance, Turns, held_out_instances, training_instances
from agents.policy import CandidatePolicy
from agents.scorer import Scorer
from agents.training import CHECKPOINT, POLICY, make_model, train
from env.features import CANDIDATE, GLOBAL, C
from env.problems import make_problem
from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from scheduling.problem import Problem
from scripts.train import main

DEFAULT = Path(__file__).parents[2] / "configs" / "training" / "default.yaml"

pytestmark = pytest.mark.filterwarnings("ignore:.*")


def small_config(steps: int = 128) -> TrainingConfig:
    return TrainingConfig.model_validate(
        {
            "seeds": [1],
            "ppo": {
                "total_steps": steps,
                "environments": 2,
                "rollout_steps": 32,
                "batch_size": 32,
                "hidden": 8,
            },
            "instances": {
                "zoo": ["alexnet"],
                "zoo_variants": 1,
                "generated": {"count": 1},
                "batches": [2],
                "machine_factors": {},
            },
            "held_out": {"networks": ["zfnet512"], "batches": [2]},
            "evaluate_every": 1000,
            "checkpoint_every": 64,
        }
    )


PLACES = 12


class Best(gymnasium.Env):
    """One step; the best candidate is the one with the largest `split`, at a random place."""

    observation_space = spaces.Dict(
        {
            "candidates": spaces.Box(-10, 10, (PLACES, len(CANDIDATE)), np.float32),
            "context": spaces.Box(-10, 10, (len(GLOBAL),), np.float32),
        }
    )
    action_space = spaces.Discrete(PLACES)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = int(self.np_random.integers(2, PLACES + 1))
        table = np.zeros((PLACES, len(CANDIDATE)), np.float32)
        table[: self.count] = self.np_random.normal(size=(self.count, len(CANDIDATE)))
        table[: self.count, 0] = 1
        self.best = table[: self.count, C["split"]]
        self.observation = {"candidates": table, "context": np.zeros(len(GLOBAL), np.float32)}
        return self.observation, {}

    def step(self, action):
        return self.observation, float(self.best[action] - self.best.max()), True, False, {}

    def action_masks(self):
        return np.arange(PLACES) < self.count


def test_learns_a_game_whose_best_is_known():
    torch.set_num_threads(1)
    made = Best()
    model = MaskablePPO(
        CandidatePolicy,
        made,
        n_steps=256,
        batch_size=128,
        n_epochs=6,
        learning_rate=3e-3,
        gamma=1.0,
        seed=0,
        device="cpu",
    )

    def regret() -> float:
        total = 0.0
        for k in range(200):
            observation, _ = made.reset(seed=k)
            action, _ = model.predict(observation, deterministic=True, action_masks=made.action_masks())
            total += made.step(int(action))[1]
        return total / 200

    before = regret()
    model.learn(2560)
    assert before < -0.5
    assert regret() > -0.2


def test_scores_do_not_depend_on_places_or_on_empty_rows():
    torch.manual_seed(0)
    scorer = Scorer(len(CANDIDATE), len(GLOBAL), 16)
    table = torch.randn(1, 5, len(CANDIDATE))
    table[..., 0] = 1
    context = torch.randn(1, len(GLOBAL))
    logits, value = scorer(table, context)
    order = torch.tensor([3, 1, 4, 0, 2])
    padded = torch.cat((table[:, order], torch.zeros(1, 7, len(CANDIDATE))), dim=1)
    other, other_value = scorer(padded, context)
    assert torch.allclose(other[:, :5], logits[:, order], atol=1e-5)
    assert torch.allclose(value, other_value, atol=1e-5)
    assert torch.equal(scorer.score_described(*scorer.describe(table), context), logits)


def test_training_writes_a_policy_that_decodes(tmp_path):
    record = train(small_config(), 1, tmp_path, progress=False)
    assert record["steps"] >= 128 and list(record["held_out"]) == ["zfnet512 x2 stcp920"]
    policy = load_policy(tmp_path / POLICY)
    problem = make_problem("squeezenet", batch=2)
    costs = {}
    for beam, samples in ((1, 0), (4, 0), (1, 4)):
        choices, rules = decode(policy, problem, beam=beam, samples=samples)
        assert choices[0].first == 0 and choices[-1].stop == problem.space.layers
        costs[beam, samples] = problem.cost(choices, rules)
        assert decode(policy, problem, beam=beam, samples=samples) == (choices, rules)
    assert costs[4, 0] <= costs[1, 0] and costs[1, 4] <= costs[1, 0]


def test_resume_goes_on(tmp_path, capsys):
    train(small_config(), 1, tmp_path / "a", progress=False)
    checkpoint = tmp_path / "a" / CHECKPOINT
    header, tensors = read_checkpoint(checkpoint)
    record = train(small_config(256), 1, tmp_path / "b", resume=checkpoint, progress=False)
    assert header["steps"] == 128 and record["steps"] == 256
    assert read_checkpoint(tmp_path / "b" / CHECKPOINT)[0]["updates"] > header["updates"]
    # Restoring gives back the same weights and moments.
    model = make_model(small_config(), 1, training_instances(small_config()), None)
    restore(model, (header, tensors), "x")
    write_checkpoint(tmp_path / "again", model, 1, header["seconds"])
    again_header, again = read_checkpoint(tmp_path / "again")
    assert again_header == header
    assert all(torch.equal(again[name], value) for name, value in tensors.items())
    restore(model, ({**header, "seed": 2**32 - 1}, tensors), "x")  # any seed that a training may have
    for wrong in ("optimizer.0", "optimizer.first.step"):
        with pytest.raises(TrainingError, match="x: does not fit this configuration"):
            restore(model, (header, {**tensors, wrong: torch.zeros(1)}), "x")
    for seed, words in (
        (2, "is a checkpoint of seed 1, not of --seed 2"),
        (2**32, "--seed is 4294967296, expected 0"),
    ):
        line = ["--seed", str(seed), "--resume", str(checkpoint), "--out", str(tmp_path / "c")]
        assert main(line) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


def test_checkpoints_that_do_not_fit_are_refused(tmp_path):
    (tmp_path / "junk").write_bytes(b"junk" * 20)
    with pytest.raises(TrainingError, match="is not a checkpoint"):
        read_checkpoint(tmp_path / "junk")
    with pytest.raises(TrainingError, match="none"):
        read_checkpoint(tmp_path / "none")


def test_generated_networks_are_the_same_for_a_seed_and_have_sane_shapes():
    for family in FAMILIES:
        for seed in range(6):
            one, two = generate(family, seed, 2), generate(family, seed, 2)
            assert one.tensors == two.tensors
            assert all(t.channels > 0 and t.rows > 0 for t in one.tensors)
            assert {one.tensors[i].name for layer in one.layers for i in layer.inputs} < {
                t.name for t in one.tensors
            }


def test_every_instance_can_be_scheduled_and_none_is_held_out():
    config = load_config(DEFAULT)
    names = {instance.network.name for instance in training_instances(config)}
    assert not names & {"inception_v1", "inception_v2", "squeezenet", "densenet121"}
    assert {"inception_v1", "inception_v2", "squeezenet", "densenet121"} <= set(config.held_out.networks)
    problem = training_instances(config)[0].episodes().builder.problem
    assert isinstance(problem, Problem)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seeds: [1]\nspeed: 3\n", "speed"),
        ("seeds: [one]\n", "seeds.0"),
        ("[", "not YAML"),
        ("seeds: [1]\nseeds: [2]\n", "not YAML"),
        ("3", "the file"),
        (DEFAULT.read_text().replace("seeds: [1, 2, 3]", "seeds: []"), "seeds: .* at least 1 item"),
        (
            DEFAULT.read_text().replace("seeds: [1, 2, 3]", "seeds: [1, -2]"),
            "seeds.1: .* greater than or equal",
        ),
        (DEFAULT.read_text().replace("seeds: [1, 2, 3]", "seeds: [1, 1]"), "expected each once"),
        (
            DEFAULT.read_text().replace("batches: [4, 16]", "batches: []"),
            "held_out.batches: .* at least 1 item",
        ),
        (
            DEFAULT.read_text()
            .replace("zoo: [alexnet, zfnet512, vgg19, resnet50]", "zoo: []")
            .replace("count: 186", "count: 0"),
            "zoo is empty and generated.count is 0",
        ),
    ],
)
def test_settings_that_are_wrong_are_refused(tmp_path, text, words):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(TrainingError, match=words) as caught:
        load_config(file)
    assert "\n" not in str(caught.value)


def test_training_on_what_is_held_out_is_refused(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text(DEFAULT.read_text().replace("zoo: [alexnet", "zoo: [squeezenet, alexnet"))
    with pytest.raises(TrainingError, match="squeezenet would be trained on"):
        load_config(file)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    assert main(["--config", str(DEFAULT), "--seed", "1", "--out", str(tmp_path / "file")]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == f"train: {tmp_path / 'file' / 'seed1'}: Not a directory"


def test_figures_that_no_machine_has_are_refused():
    """A misspelt name would be drawn again and again, and change nothing."""
    config = small_config()
    instances = config.instances.model_copy(update={"machine_factors": {"l1_bytes": (0.5,)}})
    with pytest.raises(TrainingError, match="stcp920: cannot vary 'l1_bytes', expected one of cores"):
        training_instances(config.model_copy(update={"instances": instances}))
    held_out = config.held_out.model_copy(update={"machines": ({"l1": 64.0},)})
    with pytest.raises(TrainingError, match=r"llb\.bytes is .*, expected at least l1\.bytes"):
        held_out_instances(config.model_copy(update={"held_out": held_out}))


def test_instances_none_of_which_fits_are_refused():
    network = load_model("vgg19", weights=False).network
    turns = Turns([Instance("vgg19", network, load_machine("tiny"), small_config())] * 2, 0, 4)
    with pytest.raises(TrainingError, match="none of the 2 training instances fits its machine"):
        turns(np.random.default_rng(0))


def test_the_command_refuses_in_one_line():
    command = [sys.executable, "-m", "scripts.train", "--config", "none.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=DEFAULT.parents[2], check=False)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("train: none.yaml: cannot be read")
    assert "Traceback" not in done.stderr


def test_attention_in_groups_of_heads_is_trained_on_where_the_settings_ask_for_it():
    """Numbers that divide the heads are drawn; without the key nothing is drawn, and the instances stay what they
    were."""
    config = small_config()

    def instances(**changes: object) -> list[Instance]:
        settings = config.instances.model_copy(
            update={"zoo": ("bert_base:layers=1", "alexnet"), "zoo_variants": 6, **changes}
        )
        return training_instances(config.model_copy(update={"instances": settings}))

    def sizes(made: list[Instance], name: str) -> set[int]:
        return {len(one.network.layers) for one in made if one.network.name.startswith(name)}

    whole, cut = instances(), instances(head_groups=(1, 2, 12))
    uncut = len(load_model("bert_base:layers=1", weights=False).network.layers)
    assert sizes(whole, "bert_base") == {uncut}
    assert uncut in sizes(cut, "bert_base") and len(sizes(cut, "bert_base")) == 3
    assert sizes(cut, "alexnet") == sizes(whole, "alexnet")
    episodes = next(one for one in cut if len(one.network.layers) > uncut).episodes()
    assert episodes.builder.problem.space.layers > uncut
    with pytest.raises(
        TrainingError, match=r"instances\.head_groups: 5, expected numbers that divide the heads"
    ):
        instances(head_groups=(1, 5))
