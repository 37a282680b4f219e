"""Directories of this machine, mounted volumes above all."""
