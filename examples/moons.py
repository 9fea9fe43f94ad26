"""Two interleaved half circles, and the line that gradient descent bends around them."""

import _show
import click
from sklearn.datasets import make_moons
from sklearn.model_selection import train_test_split

import mlflow_dlviz
from mlflow_dlviz import LogSpaced, catalogue


@click.command(context_settings={"show_default": True})
@click.option("--epochs", default=60, type=click.IntRange(1), help="Passes over the 1,500 training points.")
@click.option(
    "--learning-rate", default=0.01, type=click.FloatRange(0, min_open=True), help="Of the Adam optimizer."
)
@click.option(
    "--noise", default=0.2, type=click.FloatRange(0), help="How far points stray from their half circle."
)
@click.option("--seed", default=0, type=click.IntRange(0), help="Of the points, the weights and the shuffling.")
def main(epochs: int, learning_rate: float, noise: float, seed: int) -> None:
    """Train a small dense network on two moons and watch its decision boundary move.

    Logged to the experiment "moons". Look at boundary/plane and draw its slider: a straight line at first,
    then a bend, then an S. Frames lie densest at the start, where most of it happens.
    """
    _show.load_keras()
    import keras

    keras.utils.set_random_seed(seed)
    points, moons = make_moons(2000, noise=noise, random_state=seed)
    points = points.astype("float32")
    x, x_val, y, y_val = train_test_split(points, moons, test_size=0.25, stratify=moons, random_state=seed)

    model = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(16, activation="tanh"),
            keras.layers.Dense(16, activation="tanh"),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(keras.optimizers.Adam(learning_rate), "binary_crossentropy", metrics=["accuracy"])

    _show.use_experiment("moons")
    mlflow_dlviz.autolog(
        visuals=["activations", "probabilities", catalogue.boundary(grid=96, feature_names=["x", "y"])],
        cadence=LogSpaced(24),
        probe=256,
        class_names=["upper", "lower"],
    )
    model.fit(x, y, batch_size=128, epochs=epochs, validation_data=(x_val, y_val), verbose=2)
    _show.show()


if __name__ == "__main__":
    main()
