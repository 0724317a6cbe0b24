"""Our model inside a Keras Tuner script: a `keras_tuner.HyperModel` on uint8 pictures."""

from __future__ import annotations

from typing import Any

import keras
import keras_tuner

from transferkit import parts
from transferkit.config import make
from transferkit.errors import ConfigError, raise_problems
from transferkit.tuning.search_space import space as spaces
from transferkit.tuning.search_space.dimensions import Values
from transferkit.tuning.search_space.space import Space

RATE, WIDTH, BATCH = 1e-3, (256,), 32  # where neither the space nor the settings say otherwise
BUILDS = ("learning_rate", "head_width", "dropout", "l1", "l2", "pooling", "optimizer", "weight_decay", "unfreeze")
FITS = ("batch_size",)


class HyperModel(keras_tuner.HyperModel):  # type: ignore[misc]
    """Backbone, freeze policy and head, compiled for `classes` classes; give it to any Keras Tuner tuner.

    `build(hp)` gives a keras.Model that takes uint8 pictures [n, size, size, 3] and gives probabilities [n, classes];
    labels are class numbers. `fit` takes the batch size from the space. What is searched: `space`, or learning rate,
    batch size and head width. `settings` are those of `transferkit.finetune` that concern the network and its head.
    Here every epoch computes the frozen part again: `transferkit.tune` computes it once.
    Raises ConfigError for a setting that has no effect here.
    """

    def __init__(self, backbone: str, classes: int, space: Space | None = None, **settings: Any) -> None:
        super().__init__(name=f"transferkit_{backbone}")
        self.classes = classes
        self.settings = make({"backbone": backbone, **settings})
        self.space = space or spaces.default_space(self.settings)
        named = {*self.space.names, *settings} - {*BUILDS, *FITS, "weights", "image_size", "seed", "head"}
        raise_problems(ConfigError, [f"'{name}' has no effect in a HyperModel; use transferkit.tune" for name in named])
        raise_problems(ConfigError, spaces.check(self.space, self.settings))

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """The compiled model for these hyperparameters."""
        values = self._values(hp)
        s = make({**{n: getattr(self.settings, n) for n in self.settings.model_fields_set}, **_buildable(values)})
        base = parts.backbone(s.backbone, weights=s.weights, size=s.image_size, seed=s.seed)
        parts.freeze(base, s.unfreeze)
        width = () if s.head == "linear" else s.head_width
        head = parts.build_head(
            base, classes=self.classes, width=width, dropout=s.dropout, l1=s.l1, l2=s.l2, pooling=s.pooling
        )
        model = parts.assemble(base, head)
        from transferkit.training import optimizers

        rate = s.learning_rate if isinstance(s.learning_rate, float) else RATE
        optimizer = optimizers.build(s.optimizer, rate, weight_decay=s.weight_decay)
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    def fit(self, hp: keras_tuner.HyperParameters, model: keras.Model, *args: Any, **kwargs: Any) -> Any:
        """`model.fit` with the batch size of these hyperparameters."""
        kwargs.setdefault("batch_size", self._values(hp).get("batch_size", BATCH))
        return model.fit(*args, **kwargs)

    def _values(self, hp: keras_tuner.HyperParameters) -> Values:
        """Registers the space in `hp` and reads what it chose."""
        hp.merge(self.space.hyperparameters(), overwrite=False)
        return self.space.active({name: hp.get(name) for name in self.space.names if hp.is_active(name)})


def _buildable(values: Values) -> Values:
    return {name: value for name, value in values.items() if name in BUILDS}
