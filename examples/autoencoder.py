"""An autoencoder of digits, and a visual of one's own: inputs over their codes and reconstructions."""

import _show
import click
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import mlflow_dlviz
from mlflow_dlviz import Visual

# ---- the visual: two functions and a value ------------------------------------------------------------------


def capture(moment, frozen):
    """Six digits of the probe, their codes, and what comes out: a leaf, and its arrays by name."""
    x = moment.probe.x[:6]
    code = moment.values["activations"]["code"].values[:6]
    return {"digits": {"digit": x, "code": code, "output": moment.values["predict"](x), "epoch": moment.epoch}}


def draw(epoch, **rows):
    """A column per digit. digit, output: (N, 64) in [0, 1]; code: (N, units) in [-1, 1]."""
    figure = Figure(figsize=(7.5, 5), layout="constrained")
    figure.suptitle(f"Through {rows['code'].shape[1]} numbers and back, epoch {epoch}", fontsize=18)
    for name, areas in zip(("digit", "code", "output"), figure.subplots(3, len(rows["digit"])), strict=True):
        looks = {"cmap": "RdBu", "vmin": -1} if name == "code" else {"cmap": "gray_r", "vmin": 0}
        areas[0].set_ylabel(name, fontsize=15)
        for area, values in zip(areas, rows[name], strict=True):
            area.imshow(values.reshape(-1, 1 if name == "code" else 8), vmax=1, **looks)
            area.set(xticks=[], yticks=[])
    return figure


reconstructions = Visual(
    name="reconstructions",
    capture=capture,
    draw=draw,
    needs=("activations", "predict"),
    summary="Inputs over their codes and their reconstructions.",
)

# ---- the training -------------------------------------------------------------------------------------------


@click.command(context_settings={"show_default": True})
@click.option("--epochs", default=40, type=click.IntRange(1), help="Passes over the 1,347 training images.")
@click.option(
    "--learning-rate", default=0.002, type=click.FloatRange(0, min_open=True), help="Of the Adam optimizer."
)
@click.option("--code-size", default=8, type=click.IntRange(1, 32), help="Numbers that an image goes through.")
@click.option("--seed", default=0, type=click.IntRange(0), help="Of the split, the weights and the shuffling.")
def main(epochs: int, learning_rate: float, code_size: int, seed: int) -> None:
    """Squeeze 8×8 digits through a few numbers and back.

    Logged to the experiment "autoencoder". Look at reconstructions/digits, the visual that this script adds
    with two functions: grey blurs at first, then digits that can be told apart.
    """
    _show.load_keras()
    import keras

    keras.utils.set_random_seed(seed)
    images, digits = load_digits(return_X_y=True)
    x, x_val = train_test_split(
        (images / 16).astype("float32"), test_size=0.25, stratify=digits, random_state=seed
    )
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(48, activation="relu"),
            keras.layers.Dense(code_size, activation="tanh", name="code"),
            keras.layers.Dense(48, activation="relu"),
            keras.layers.Dense(64, activation="sigmoid"),
        ]
    )
    model.compile(keras.optimizers.Adam(learning_rate), "mse")

    _show.use_experiment("autoencoder")
    mlflow_dlviz.autolog(visuals=["activations", reconstructions])
    model.fit(x, x, epochs=epochs, validation_data=(x_val, x_val), verbose=2)
    _show.show()


if __name__ == "__main__":
    main()
