"""What a report says, in forms for other tools: CSV, Markdown, PNG. Each knows the analysis and nothing else."""
