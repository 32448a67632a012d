"""What may be chosen for a sub-graph, and what each choice is likely to cost."""
