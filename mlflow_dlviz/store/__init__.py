"""The only part that talks to a tracking server: runs, names and paths, sending, reading back."""
