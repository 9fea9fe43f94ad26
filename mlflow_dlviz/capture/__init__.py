"""The live model turned into small named arrays, on the training thread. Knows no MLflow, no matplotlib."""
