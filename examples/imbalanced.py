"""Nine healthy samples for each failing one: what accuracy hides."""

import _show
import click
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import mlflow_dlviz


@click.command(context_settings={"show_default": True})
@click.option("--epochs", default=30, type=click.IntRange(1), help="Passes over 7,500 samples, at most.")
@click.option(
    "--learning-rate", default=0.001, type=click.FloatRange(0, min_open=True), help="Of the Adam optimizer."
)
@click.option("--patience", default=8, type=click.IntRange(0), help="Epochs to wait for a better val_mcc.")
@click.option("--seed", default=0, type=click.IntRange(0), help="Of the data, the weights and the shuffling.")
def main(epochs: int, learning_rate: float, patience: int, seed: int) -> None:
    """Train a dense network on 10,000 samples, 90 % of one class; stop when val_mcc no longer rises.

    Logged to the experiment "imbalanced". Calling every sample "ok" would be right in 88 of 100 cases: with
    val_accuracy at 0.95, val_miss_rate says that a third of the failures is missed. Look at probabilities/
    to see where these lie.
    """
    _show.load_keras()
    import keras

    keras.utils.set_random_seed(seed)
    x, x_val, y, y_val = samples(seed)
    model = keras.Sequential(
        [
            keras.Input((15,)),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(keras.optimizers.Adam(learning_rate), "binary_crossentropy", metrics=["accuracy"])

    _show.use_experiment("imbalanced")
    mlflow_dlviz.autolog(
        metrics={"miss_rate": lambda tp, tn, fp, fn: fn / (fn + tp)},
        class_names=["ok", "failing"],
        monitor="val_mcc",
    )
    # Keras sees val_mcc although nobody compiled it: autolog wrote it into the logs.
    stop = keras.callbacks.EarlyStopping("val_mcc", mode="max", patience=patience, restore_best_weights=True)
    model.fit(x, y, batch_size=64, epochs=epochs, validation_data=(x_val, y_val), callbacks=[stop], verbose=2)
    _show.show()


def samples(seed: int) -> tuple:
    """Training and validation features and labels, standardised by the training part."""
    x, y = make_classification(
        10_000, 15, n_informative=8, weights=[0.9], flip_y=0.05, class_sep=0.7, random_state=seed
    )
    x, x_val, y, y_val = train_test_split(x, y, test_size=0.25, stratify=y, random_state=seed)
    scaler = StandardScaler().fit(x)
    return scaler.transform(x), scaler.transform(x_val), y, y_val


if __name__ == "__main__":
    main()
