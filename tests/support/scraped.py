"""What a scrape of `/metrics` says, read by prometheus-client's own parsers."""

from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain

__all__ = ["OPEN_METRICS", "Scraped"]

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
"""As Prometheus asks for it."""


class Scraped:
    """One scrape.

    Args:
        text: the body.
        media_type: what it is said to be.
    """

    def __init__(self, text: str, media_type: str = "text/plain") -> None:
        parse = open_metrics if media_type.startswith("application/openmetrics-text") else plain
        self.families = {family.name: family for family in parse(text)}
        self.samples = [sample for family in self.families.values() for sample in family.samples]

    def all(self, name: str, **labels: str) -> dict[tuple[str, ...], float]:
        """The samples of a name with these labels, by their other labels' values in the labels' order."""
        return {
            tuple(value for key, value in sorted(sample.labels.items()) if key not in labels): sample.value
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        }

    def value(self, name: str, **labels: str) -> float | None:
        """The only one; None when there is none."""
        found = self.all(name, **labels)
        assert len(found) < 2, found
        return next(iter(found.values()), None)

    def total(self, name: str, **labels: str) -> float:
        """Their sum."""
        return sum(self.all(name, **labels).values())
