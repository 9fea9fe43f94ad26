"""``python -m mlflow_dlviz``: the command line from the working tree, without an installed script."""

from mlflow_dlviz.cli import main

main(prog_name="python -m mlflow_dlviz")
