"""The processes of one server share what they count: each writes files of its own, and whoever is scraped
reads those of all.

prometheus-client decides when it is imported, by a variable of the environment; so the server says it before
it starts its workers.
"""

import os
import shutil
from collections.abc import Iterable, Mapping, MutableMapping
from functools import partial
from pathlib import Path

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.process_collector import ProcessCollector

__all__ = ["FOLDER", "Shared", "prepare", "shared"]

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
FOLDER = "metrics"
"""In the data folder."""
# One limit and one start stand for all; what is used adds up.
LEAST = ("process_max_fds", "process_start_time_seconds")


def prepare(data_dir: Path, workers: int, env: MutableMapping[str, str] = os.environ) -> None:
    """Have the workers that are about to be started count together, from nothing.

    Args:
        data_dir: the data folder, which no other server uses.
        workers: how many; one alone needs no files.
        env: what they will find in their environment.
    """
    folder = data_dir / FOLDER
    # Of the last run: its counts are no part of this one's.
    if folder.exists():
        shutil.rmtree(folder)
    env.pop(VARIABLE, None)
    if workers > 1:
        folder.mkdir(parents=True)
        env[VARIABLE] = str(folder)


def shared(env: Mapping[str, str] = os.environ) -> "Shared | None":
    """What this process counts into together with others; None when it counts for itself."""
    return Shared(Path(env[VARIABLE])) if VARIABLE in env else None


class Shared:
    """Reads what all the processes of this server have counted.

    Args:
        folder: has their files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """Their counters and histograms, summed; their gauges, of those that live."""
        for pid in self.processes() - self.alive():
            mark_process_dead(pid, str(self._folder))  # type: ignore[no-untyped-call]  # the library's
        found: Iterable[Metric] = MultiProcessCollector(None, str(self._folder)).collect()  # type: ignore[no-untyped-call]
        return found

    def processes(self) -> set[int]:
        """The ids of those that have counted anything."""
        return {int(path.stem.rpartition("_")[2]) for path in self._folder.glob("*.db")}

    def alive(self) -> set[int]:
        """The ids of those that live."""
        return {pid for pid in self.processes() if Path("/proc", str(pid)).exists()}

    def usage(self) -> Iterable[Metric]:
        """What the system says of them, added up."""
        found: dict[str, list[Metric]] = {}
        for pid in sorted(self.alive()):
            for metric in ProcessCollector(pid=partial(int, pid), registry=None).collect():
                found.setdefault(metric.name, []).append(metric)
        return [_added(name, metrics) for name, metrics in found.items()]


def _added(name: str, metrics: list[Metric]) -> Metric:
    values = [sample.value for metric in metrics for sample in metric.samples]
    value = min(values) if name in LEAST else sum(values)
    family = CounterMetricFamily if metrics[0].type == "counter" else GaugeMetricFamily
    return family(name, metrics[0].documentation, value=value)
