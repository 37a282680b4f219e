"""The user's own merge command: how it is started, watched, stopped, and what is said where it fails."""
