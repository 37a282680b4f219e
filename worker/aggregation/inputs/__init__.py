"""The list of a run's inputs, where they have other names than numbers: made once, read by each step."""
