"""The slow, obvious timing simulator beside the recurrence: a heap of events, a queue per resource.

It shares no code with what it checks, and reads instructions as records of their own.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass
class Task:
    """An instruction: cycles until it has finished, cycles it holds each resource, what it waits for."""

    latency: int
    holds: Mapping[str, int]
    waits: Sequence[int] = ()
    start: int = -1
    finish: int = -1


@dataclass
class EventDriven:
    """Runs tasks; every resource serves its tasks in the order of the list, and nothing overtakes."""

    tasks: list[Task]
    initially_free: Mapping[str, int] = field(default_factory=dict)

    def run(self) -> int:
        """Set start and finish of every task; return the latest finish."""
        self.queues: dict[str, deque[int]] = {}
        self.busy: set[str] = set()
        self.released: dict[str, int] = dict(self.initially_free)
        self.events: list[tuple[int, int, str, int]] = []
        self.unfinished = [set(task.waits) for task in self.tasks]
        for number, task in enumerate(self.tasks):
            for resource in task.holds:
                self.queues.setdefault(resource, deque()).append(number)
        for resource, time in self.initially_free.items():
            self.busy.add(resource)
            self.push(time, "release " + resource, -1)
        for number in range(len(self.tasks)):
            self.start_if_possible(number, 0)
        while self.events:
            time, _, what, number = heapq.heappop(self.events)
            if what == "finish":
                self.finished(number, time)
            else:
                self.release(what.removeprefix("release "), time)
        unstarted = [number for number, task in enumerate(self.tasks) if task.start < 0]
        assert not unstarted, f"deadlock: {unstarted}"
        return max((task.finish for task in self.tasks), default=0)

    def push(self, time: int, what: str, number: int) -> None:
        heapq.heappush(self.events, (time, len(self.events), what, number))

    def start_if_possible(self, number: int, now: int) -> None:
        task = self.tasks[number]
        if task.start >= 0 or self.unfinished[number]:
            return
        for resource in task.holds:
            if resource in self.busy or self.queues[resource][0] != number:
                return
        task.start = now
        for resource, hold in task.holds.items():
            self.queues[resource].popleft()
            self.busy.add(resource)
            self.push(now + hold, "release " + resource, -1)
        self.push(now + task.latency, "finish", number)

    def release(self, resource: str, now: int) -> None:
        self.busy.remove(resource)
        self.released[resource] = now
        if self.queues.get(resource):
            self.start_if_possible(self.queues[resource][0], now)

    def finished(self, number: int, now: int) -> None:
        self.tasks[number].finish = now
        for other, waits in enumerate(self.unfinished):
            if number in waits:
                waits.remove(number)
                self.start_if_possible(other, now)
