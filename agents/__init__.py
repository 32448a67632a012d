"""The policy network, its training, the search that it guides, and policy files."""
