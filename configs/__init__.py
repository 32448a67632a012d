"""Machine descriptions, training settings and trained policies that ship with oncore."""
