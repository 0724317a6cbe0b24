"""`json_weights`: a folder with the architecture as JSON and the weights beside it."""

from transferkit.plugins import Exporter


def write(source, facts, to):
    """The model as two files. `facts` (labels, thresholds…) go beside it anyway, in export.json."""
    import keras

    model = keras.saving.load_model(source, compile=False)
    to.mkdir()
    (to / "architecture.json").write_text(model.to_json())
    model.save_weights(to / "model.weights.h5")


JSON_WEIGHTS = Exporter(
    write,
    file="model",
    load="transferkit_example.runtime:load",
    install="tensorflow keras",
    imports="import keras",
    call=(
        'model = keras.models.model_from_json((here / "{file}" / "architecture.json").read_text())\n'
        'model.load_weights(here / "{file}" / "model.weights.h5")\n'
        "answer = model.predict(pixels, verbose=0)[0]"
    ),
)
