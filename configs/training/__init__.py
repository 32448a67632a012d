"""Training settings, one YAML file for each run that can be repeated."""
