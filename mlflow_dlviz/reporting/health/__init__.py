"""What looks wrong with a run: the signs, looked for in its numbers alone, and the alarms that they raise."""
