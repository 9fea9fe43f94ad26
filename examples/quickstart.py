"""A script as you would have written it without mlflow_dlviz, and one line."""

import keras
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import mlflow_dlviz

mlflow_dlviz.autolog()  # the line

x, y = load_breast_cancer(return_X_y=True)
x, x_val, y, y_val = train_test_split(x, y, stratify=y, random_state=0)
scaler = StandardScaler().fit(x)

model = keras.Sequential(
    [
        keras.Input((30,)),
        keras.layers.Dense(16, activation="relu"),
        keras.layers.Dense(1, activation="sigmoid"),
    ]
)
model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
model.fit(scaler.transform(x), y, epochs=20, validation_data=(scaler.transform(x_val), y_val))
