"""What goes wrong: each fault strikes a stage, and says how and when it is healed, if it does not heal by itself."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import redis
from tests.chaos.stage import LEASE_S, Stage, Worker

from pubworks import queue
from pubworks.errors import BrokerUnreachable
from pubworks.testing.servers import Server

#: The steps that a run takes, as workers log them: of every run, when something goes wrong, and of the keeper.
STEPS = (
    "batch.claimed", "run.calling", "run.called", "run.accepted", "run.over", "run.fetching", "run.fetched",
    "batch.done", "job.merged",
)  # fmt: skip
TROUBLE_STEPS = ("batch.trouble", "run.looked_up", "run.adopted", "spool.kept", "spool.replayed")
KEEPER_STEPS = ("keeper.rang", "batch.released", "worker.child_died")

#: What is to be done later, and in how many seconds; None: nothing.
Healing = tuple[float, Callable[[], None]] | None


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    Args:
        strike: Does it; the generator chooses where there is a choice.
        weight: How often it comes, beside the others.
        needs: Part of the names of the stages that can have it.
    """

    strike: Callable[[Stage, Random], Healing]
    weight: float = 1.0
    needs: str = ""


def _some(stage: Stage, random: Random) -> Worker:
    return stage.workers[random.randrange(len(stage.workers))]


def _kill_child(stage: Stage, random: Random) -> Healing:
    _signal_child(_some(stage, random), random, signal.SIGKILL)
    return None


def _signal_child(worker: Worker, random: Random, number: signal.Signals) -> int | None:
    number_of_child = random.randrange(2)
    children = worker.children()
    if not children:
        return None
    child = children[number_of_child % len(children)]
    with contextlib.suppress(ProcessLookupError):
        os.kill(child.pid, number)
    return child.pid


def _freeze_child(stage: Stage, random: Random) -> Healing:
    pid = _signal_child(_some(stage, random), random, signal.SIGSTOP)

    def thaw() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid or 0, signal.SIGCONT)

    return (LEASE_S + random.uniform(0.5, 4.0), thaw) if pid else None


def _kill_worker(stage: Stage, random: Random) -> Healing:
    stage.kill(_some(stage, random))
    return None


def _kill_parent(stage: Stage, random: Random) -> Healing:
    worker = _some(stage, random)
    if worker.alive and worker.process is not None:
        worker.process.kill()
    return None


def _terminate(stage: Stage, random: Random) -> Healing:
    worker = _some(stage, random)
    if worker.alive and worker.process is not None:
        worker.process.terminate()
    return None


def _skew(stage: Stage, random: Random) -> Healing:
    worker = _some(stage, random)
    worker.skew_s = random.choice([-600.0, -120.0, 0.0, 120.0, 600.0])
    stage.kill(worker)
    return None


def _step(effect: str, steps: tuple[str, ...]) -> Callable[[Stage, Random], Healing]:
    def strike(stage: Stage, random: Random) -> Healing:
        action, after_s = random.choice(steps), LEASE_S + random.uniform(0.5, 4.0)
        armed = stage.arm(action, effect)

        def heal() -> None:
            armed.unlink(missing_ok=True)
            pid = stage.struck(action, effect)
            if pid is None:
                stage.missed += 1
                return
            (stage.steps / f"{action}.{effect}.{pid}").unlink(missing_ok=True)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

        return after_s, heal

    return strike


def _forget_messages(stage: Stage, random: Random) -> Healing:
    with contextlib.suppress(Exception):  # the broker may be away
        stage.lose_messages()
    return None


def _double_messages(stage: Stage, random: Random) -> Healing:
    with contextlib.suppress(BrokerUnreachable):
        queue.ring(stage.app, stage.backend, random.randint(5, 50))
    return None


def _flush(stage: Stage, random: Random) -> Healing:
    assert isinstance(stage.broker, Server)
    with contextlib.suppress(redis.RedisError), redis.Redis.from_url(stage.broker.url) as client:
        client.flushall()
    return None


def _delete_queue(stage: Stage, random: Random) -> Healing:
    with contextlib.suppress(Exception), stage.app.connection_for_write() as connection:
        connection.channel().queue_delete(queue.queue_name(stage.backend))
    return None


def _restart_rabbitmq(stage: Stage, random: Random) -> Healing:
    """Restart the machine's own RabbitMQ, where this process may."""
    control = shutil.which("rabbitmqctl")
    if control is None:
        return None
    subprocess.run([control, "stop_app"], check=True, capture_output=True)
    return random.uniform(0.1, 2.0), lambda: _start_rabbitmq(control)


def _start_rabbitmq(control: str) -> None:
    subprocess.run([control, "start_app"], check=True, capture_output=True)


def _away(which: str, least_s: float, most_s: float) -> Callable[[Stage, Random], Healing]:
    def strike(stage: Stage, random: Random) -> Healing:
        server: Server = getattr(stage, which)
        after_s = random.uniform(least_s, most_s)
        if not server.running:
            return None  # it is away already
        server.stop()
        return after_s, server.start

    return strike


def _next(**counts: tuple[int, int]) -> Callable[[Stage, Random], Healing]:
    """Have the QPU do something to so many of the next requests."""

    def strike(stage: Stage, random: Random) -> Healing:
        have = stage.qpu.settings()
        more = {name: have[name] + random.randint(*span) for name, span in counts.items()}
        stage.injected.update({name: more[name] - have[name] for name in counts})
        stage.qpu.set(**more, retry_after=random.choice(["seconds", "date", "none"]))
        return None

    return strike


FAULTS = {
    "child killed": Fault(_kill_child, 3),
    "worker killed": Fault(_kill_worker, 2),
    "worker's parent killed": Fault(_kill_parent, 1),
    "worker terminated": Fault(_terminate, 2),
    "worker with another clock": Fault(_skew, 1),
    "child frozen past its lease": Fault(_freeze_child, 1),
    "killed at a step": Fault(_step("kill", STEPS), 6),
    "killed at a step after trouble": Fault(_step("kill", TROUBLE_STEPS), 3),
    "keeper killed at a step": Fault(_step("kill", KEEPER_STEPS), 1),
    "frozen at a step": Fault(_step("freeze", STEPS + TROUBLE_STEPS), 2),
    "messages lost": Fault(_forget_messages, 2, "postgresql"),
    "messages doubled": Fault(_double_messages, 2, "postgresql"),
    "Redis flushed": Fault(_flush, 2, "redis"),
    "Redis restarted empty": Fault(_away("broker", 0.1, 2.0), 1, "redis"),
    "RabbitMQ queue deleted": Fault(_delete_queue, 2, "rabbitmq"),
    "RabbitMQ restarted": Fault(_restart_rabbitmq, 1, "rabbitmq"),
    "PostgreSQL restarted": Fault(_away("database", 0.0, 0.5), 1, "postgresql"),
    "PostgreSQL away for 10 s": Fault(_away("database", 10.0, 10.0), 0.2, "postgresql"),
    "storm of 429": Fault(_next(too_many_next=(1, 5)), 2),
    "storm of 5xx for submissions": Fault(_next(error_before_next=(1, 5)), 1),
    "storm of 5xx for questions": Fault(_next(error_read_next=(1, 8)), 1),
    "accepted, and answered with 5xx": Fault(_next(error_after_next=(1, 2)), 2),
    "accepted, and reply dropped": Fault(_next(drop_after_next=(1, 3)), 3),
    "not accepted, and reply dropped": Fault(_next(drop_before_next=(1, 2)), 1),
    "accepted, and reply late": Fault(_next(slow_next=(1, 2)), 1),
    "run failed": Fault(_next(fail_next=(1, 2)), 1),
    "result lost": Fault(_next(lose_result_next=(1, 1)), 1),
}


@dataclass(frozen=True)
class Planned:
    """A fault that is to come."""

    at_s: float
    name: str
    seed: int


def schedule(kind: str, seed: int, count: int, seconds: float) -> list[Planned]:
    """Return faults for a kind of stage, the same for the same arguments: each kind once, then by weight.

    Args:
        kind: Of the stage.
        seed: Of the choice.
        count: How many.
        seconds: Until the last one.
    """
    random = Random(seed)
    names = [name for name, fault in FAULTS.items() if fault.needs in kind]
    weights = [FAULTS[name].weight for name in names]
    chosen = (random.sample(names, len(names)) + random.choices(names, weights, k=max(0, count - len(names))))[:count]
    random.shuffle(chosen)
    times = sorted(random.uniform(0.0, seconds) for _ in chosen)
    return [Planned(at_s, name, random.getrandbits(32)) for at_s, name in zip(times, chosen, strict=True)]
