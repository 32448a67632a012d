"""Machine descriptions, one YAML file for each accelerator."""
