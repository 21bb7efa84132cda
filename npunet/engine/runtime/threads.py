"""Threads that share a call with the one that makes it: started for it alone, or kept a moment for the next."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

IDLE_TIMEOUT = 0.2  # seconds that a worker waits for a job: waking it takes a quarter of the time of starting one
Job = Callable[[], object]


def in_parallel(jobs: Sequence[Job]) -> None:
    """Run every job, the first in this thread; returns when all are done and their threads have ended. Raises what any
    of them raised.

    Jobs may wait for one another, so none begins before every thread is there: where one cannot be started, none does.
    """
    failures: list[BaseException] = []
    todo, gate = list(jobs[1:]), threading.Lock()

    def one(number: int) -> None:
        with gate:
            pass
        if todo:
            guarded(todo[number], failures)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(todo))]
    with gate:
        try:
            for thread in threads:
                thread.start()
        except BaseException:
            todo.clear()
            raise
    guarded(jobs[0], failures)
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


class ThreadPool:
    """Worker threads for calls that follow one another; those of one pool must not overlap.

    A worker ends when IDLE_TIMEOUT has passed without a job, so none outlives its pool's calls for long, and none keeps
    a process from ending. In a forked child the pool starts anew.
    """

    def __init__(self) -> None:
        self.workers: list[Worker] = []
        self.process = os.getpid()

    def run(self, jobs: Sequence[Job]) -> None:
        """As in_parallel."""
        if self.process != os.getpid():
            self.workers, self.process = [], os.getpid()
        failures: list[BaseException] = []
        done: SimpleQueue[None] = SimpleQueue()
        self.workers = [worker for worker in self.workers if not worker.left]
        while len(self.workers) < len(jobs) - 1:  # before any begins: they may wait for one another
            self.workers.append(Worker())
        for number, job in enumerate(jobs[1:]):
            task = (job, failures, done)
            if not self.workers[number].submit(task):
                self.workers[number] = Worker()
                self.workers[number].submit(task)
        guarded(jobs[0], failures)
        for _ in jobs[1:]:
            done.get()
        if failures:
            raise failures[0]


class Worker(threading.Thread):
    """A thread that does one task after another, as long as they come soon enough."""

    def __init__(self) -> None:
        super().__init__(daemon=True, name="npunet worker")
        self.tasks: SimpleQueue[tuple[Job, list[BaseException], SimpleQueue[None]]] = SimpleQueue()
        self.leaving, self.left = threading.Lock(), False
        self.start()

    def submit(self, task: tuple[Job, list[BaseException], SimpleQueue[None]]) -> bool:
        """Whether it is still there to do the task."""
        with self.leaving:
            if not self.left:
                self.tasks.put(task)
            return not self.left

    def run(self) -> None:
        while not self.left:
            try:
                job, failures, done = self.tasks.get(timeout=IDLE_TIMEOUT)
            except Empty:
                with self.leaving:
                    self.left = self.tasks.empty()
                continue
            guarded(job, failures)
            del job  # with what it holds
            done.put(None)


def guarded(job: Job, failures: list[BaseException]) -> None:
    try:
        job()
    except BaseException as error:
        failures.append(error)
