"""The commands that a user runs: each one parses its arguments, calls the library and prints."""
