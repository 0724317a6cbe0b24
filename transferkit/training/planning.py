"""Which phases a recipe has, what each is to be, and which rows and pictures it takes; and which settings would have no
effect on a network. Nothing is trained here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from transferkit.backbones import freeze
from transferkit.backbones.build import LoadedBackbone
from transferkit.backbones.catalog import BackboneRow
from transferkit.backbones.cut import operations_of
from transferkit.compute import keras_private
from transferkit.config import Settings
from transferkit.features.frozen import Frozen
from transferkit.features.number_formats import width_of
from transferkit.features.precision import Precision
from transferkit.features.row_kinds import Rows
from transferkit.features.row_sources import Source, taking_once
from transferkit.heads import has_class_token
from transferkit.training import adapting, models, optimizers
from transferkit.training.phase import Phase
from transferkit.training.problem import Problem

# Where the user leaves it. Three times Adam's usual 1e-3: features are standardised and weights averaged.
HEAD_RATES = {"adamw": 3e-3, "adam": 3e-3, "rmsprop": 1e-3, "sgd": 1e-1, "momentum": 3e-2}
TAIL_RATE = 0.13  # of the head's learning rate
JUDGED_TRAINING = 1000  # training pictures on which the final model is scored, to see over- and underfitting
SAMPLE_ROWS, SAMPLE_BYTES = 4096, 256 << 20  # by which features are standardised


def pooled_for(settings: Settings, backbone: LoadedBackbone) -> Settings:
    """The settings with the pooling that they come to on a network.

    Args:
        settings: of the run.
        backbone: the network.
    """
    if settings.chooses_head and has_class_token(backbone.model.output_shape[1:]):
        # What is chosen stands on the class token and the patches' mean; trained layers go on from it.
        return settings.model_copy(update={"pooling": "cls+mean"})
    return settings


def kinds(frozen: Frozen, settings: Settings, upper: Rows) -> list[Rows]:
    """What one pass over the pictures is to give: the activations that the lowest tail begins with, if there is one and
    something below it is frozen; and `upper`.

    Args:
        frozen: the frozen side.
        settings: of the run.
        upper: rows of the whole network.
    """
    backbone = frozen.backbone
    steps = tail_steps(settings, backbone.row)
    if not steps:
        return [upper]
    _, rows = frozen.at(freeze.first_trainable(backbone.model, backbone.row, steps[0]))
    return [upper] if rows is None or rows.tail is None else [rows, upper]


def head_rate(settings: Settings) -> float:
    """The head's learning rate as far as the settings say it: `auto` measures another."""
    rate = settings.learning_rate
    return rate if isinstance(rate, float) else HEAD_RATES[settings.optimizer]


def head_phase(name: str, rate: float, settings: Settings, features: Precision) -> Phase:
    """The training of a head on features.

    Args:
        name: of the phase.
        rate: the learning rate.
        settings: of the run.
        features: the precision in which the rows were computed.
    """
    asked = settings.precision  # a head is too small for `auto` to be worth a probe
    # Where features in that format did not agree with what is shipped, the head is not trained in it either.
    taken = asked in ("bfloat16", "float16") and features.name == asked
    precision = Precision(asked, "policy") if taken else Precision()
    return Phase(name, "head only", rate, settings.epochs, warmup=False, precision=precision)


def tail_steps(settings: Settings, row: BackboneRow) -> list[str]:
    """The freeze policies of the phases after the head's, in their order.

    Args:
        settings: of the run.
        row: stages of the network.
    """
    if settings.unfreeze == "none":
        return []
    if settings.unfreeze == "gradual":
        return freeze.gradual_steps(row)
    return [settings.unfreeze]


def tail_name(policy: str, phases: int) -> str:
    """What a phase after the head's is called, one of so many.

    Args:
        policy: its freeze policy.
        phases: how many follow the head's.
    """
    return "tail" if phases == 1 else f"tail {policy}"


def steps_until(chosen: str, steps: Sequence[str]) -> Sequence[str]:
    """The freeze policies of the phases up to one of them: what had been trained by then.

    Args:
        chosen: the phase's name.
        steps: the policies of all phases after the head's, in their order.
    """
    names = [tail_name(policy, len(steps)) for policy in steps]
    return steps[: names.index(chosen) + 1]


def tail_phase(
    policy: str, phases: int, rate: float, backbone: LoadedBackbone, settings: Settings, adapted: adapting.Adapted
) -> Phase:
    """One of the phases after the head's.

    Args:
        policy: its freeze policy.
        phases: how many there are, which share the epochs.
        rate: the head's learning rate; the tail's is lower.
        backbone: the network, frozen as `policy` says.
        settings: of the run.
        adapted: what is trained.
    """
    what, weights = adapting.words(settings.adapt), sum(int(np.prod(w.shape)) for w in adapted.trained)
    return Phase(
        tail_name(policy, phases),
        f"{policy}{what and f' ({what})'}: {weights:,} backbone weights + head",
        rate * TAIL_RATE * (1 if settings.adapt == "all" else adapting.FASTER),
        max(1, settings.epochs // phases),
        factors=optimizers.layer_rates(adapted.network, adapted.places(models.depths(backbone)), settings.layer_decay),
    )


def problems(backbone: LoadedBackbone, settings: Settings) -> list[str]:
    """What of the settings only the built network can refute (for a user's own file, its stages too), in words.

    Args:
        backbone: the network.
        settings: of the run.
    """
    s, found = settings, freeze.problems(backbone.row, settings.unfreeze)
    if s.batchnorm == "train" and not found:
        kinds = {type(layer).__name__ for layer in keras_private.all_layers(backbone.model)}
        if "BatchNormalization" not in kinds:
            found.append(f"--batchnorm train has no effect: {backbone.row.name} has no BatchNorm; drop it")
    if s.adapt != "all" and not found:
        found += _adaptation_problems(backbone, s)
    if "layer_decay" in s.model_fields_set and not found and _top_stage_only(backbone, s.unfreeze):
        found.append(
            f"--layer-decay {s.layer_decay:g} has no effect with --unfreeze {s.unfreeze}: only the top stage is "
            "trained, and that at the full rate; unfreeze more, or drop it"
        )
    return found


def _adaptation_problems(backbone: LoadedBackbone, settings: Settings) -> list[str]:
    s, model = settings, backbone.model
    lowest = tail_steps(s, backbone.row)[:1]
    first = freeze.first_trainable(model, backbone.row, lowest[0]) if lowest else len(operations_of(model))
    why = adapting.problem(model, first, s.adapt, s.batchnorm)
    return [] if why is None else [f"--adapt {s.adapt} has no effect with --unfreeze {s.unfreeze}: {why}"]


def _top_stage_only(backbone: LoadedBackbone, policy: str) -> bool:
    depths = models.depths(backbone)
    first = 0 if policy == "gradual" else freeze.first_trainable(backbone.model, backbone.row, policy)
    return not any(depths[operation.name] for operation in operations_of(backbone.model)[first:])


def wanted(problem: Problem, folds: Collection[Problem], views: int) -> dict[int, range]:
    """Views per picture: the clean one and more for training, the clean one for validation.

    Args:
        problem: training and validation pictures.
        folds: of cross-validation, where every picture of both is trained on.
        views: augmented copies of a training picture.

    Returns:
        Row number → its views.
    """
    found = {int(i): range(1) for i in problem.val}
    # Under cross-validation every picture of train and validation is trained on in some fold.
    trained_on = np.union1d(problem.train, problem.val) if folds else problem.train
    return found | {int(i): range(views + 1) for i in trained_on}


def judged(problem: Problem, seed: int) -> np.ndarray:
    """Training pictures on which the final model is scored, int [n ≤ 1000].

    Args:
        problem: the training pictures.
        seed: of the choice, where there are more than a thousand.
    """
    if len(problem.train) <= JUDGED_TRAINING:
        return problem.train
    return np.sort(np.random.default_rng(seed).choice(problem.train, JUDGED_TRAINING, replace=False))


def sampled(source: Source, train: np.ndarray, views: int, seed: int) -> np.ndarray:
    """Some training rows over all views, each once: enough for means and deviations to about two digits.

    Args:
        source: gives rows by picture and view.
        train: row numbers of the training pictures, int [n].
        views: augmented copies of each.
        seed: of the choice.

    Returns:
        The first tensor of the rows, [m, …].
    """
    depth = views + 1
    width = width_of(source.shapes)
    most = max(1, min(SAMPLE_ROWS, SAMPLE_BYTES // (4 * width), len(train) * depth))
    pairs = np.random.default_rng(seed).choice(len(train) * depth, most, replace=False)
    return taking_once(source)(train[pairs // depth], pairs % depth)[0]
