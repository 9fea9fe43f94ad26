"""The parts of a report, in the order in which the page shows them; each knows the analysis and nothing else."""
