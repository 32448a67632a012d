"""What instructions cost and when they run: cycles, bytes at every level, energy."""
