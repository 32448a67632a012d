"""Holds schedules, checks that they are legal, lowers them to programs, and finds good ones."""
