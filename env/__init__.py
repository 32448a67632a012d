"""A Gymnasium environment in which one episode builds one schedule."""
