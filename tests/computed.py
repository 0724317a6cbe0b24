"""What must come out alike on every backend of Keras and on any number of devices; run as a program, it saves its
numbers for the caller.

KERAS_BACKEND=jax python -m tests.computed FILE.npz [DEVICES]
"""

import sys

import numpy as np


def network():
    """Convolution, BatchNorm, pooling, a regularised dense layer, logits; weights from NumPy, so alike everywhere."""
    import keras

    inputs = keras.Input((6, 6, 3))
    # No bias: BatchNorm cancels its gradient, and AdamW would blow up what is left of it by rounding.
    x = keras.layers.Conv2D(8, 3, padding="same", use_bias=False, name="conv")(inputs)
    x = keras.layers.BatchNormalization(name="bn")(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(12, activation="relu", kernel_regularizer=keras.regularizers.L2(1e-2), name="dense")(x)
    model = keras.Model(inputs, keras.layers.Dense(4, name="logits")(x))
    rng = np.random.default_rng(7)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0, 0.3, variable.shape).astype(np.float32))
    return model


def data(count=40):
    """Inputs, one-hot targets and weights."""
    rng = np.random.default_rng(3)
    x = rng.normal(0, 1, (count, 6, 6, 3)).astype(np.float32)
    y = np.eye(4, dtype=np.float32)[rng.integers(0, 4, count)]
    return x, y, rng.uniform(0.5, 2, count).astype(np.float32)


def outcome():
    """Forward pass, losses and weights after twelve steps of AdamW with layer-wise rates and averaged weights."""
    from transferkit import compute
    from transferkit.training import losses, optimizers

    model = network()
    x, y, w = data()
    before = compute.forward(model)([x])[0]
    rates = optimizers.layer_rates(model, {"conv": 2.0, "bn": 2.0, "dense": 1.0}, 0.5)
    optimizer = optimizers.build("adamw", 0.01, weight_decay=0.1, rates=rates, average_steps=4)
    traced = []

    def loss_of(targets, outputs):
        traced.append(1)
        return losses.cross_entropy(targets, outputs)

    step = compute.steps(model, optimizer, loss_of)
    found = {"before": before}
    for epoch in range(3):
        batches = x.reshape(4, 10, *x.shape[1:]), y.reshape(4, 10, 4), w.reshape(4, 10)
        programs = len(traced)
        if epoch == 2:  # the third by shorter calls, for which nothing is compiled
            parts = slice(3), slice(3, 4)
            (first, some), (last, others) = (
                step([batches[0][part]], *(content[part] for content in batches[1:])) for part in parts
            )
            loss, outputs = (3 * first + last) / 4, np.concatenate([some, others])
            assert len(traced) == programs
        elif epoch:  # the second from rows in memory, at given rates
            rates, rows = np.full(4, 0.01, np.float32), np.arange(40, dtype=np.int32).reshape(4, 10)
            loss, outputs = step(compute.hold([x]), *batches[1:], rates, rows)
        else:
            loss, outputs = step([batches[0]], *batches[1:])
        found |= {f"loss{epoch}": np.array(loss), f"outputs{epoch}": outputs}
    found |= {f"weight{i}": v for i, v in enumerate(compute.values(model.weights))}
    optimizer.finalize_variable_values(model.trainable_variables)
    found |= {f"average{i}": v for i, v in enumerate(compute.values(model.trainable_variables))}
    run = compute.forward(model)
    return found | {"after": run([x])[0], "picked": run(compute.hold([x]), np.arange(0, 40, 2, dtype=np.int32))[0]}


def simulate(devices):
    """Make this process see so many devices; before the backend starts."""
    import os

    if os.environ.get("KERAS_BACKEND") == "jax":
        os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
        return
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)


if __name__ == "__main__":
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    if count > 1:
        simulate(count)
    from transferkit import compute

    compute.start()
    assert compute.device_count() == count
    np.savez(sys.argv[1], **outcome())
