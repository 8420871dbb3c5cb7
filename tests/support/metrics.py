"""The metrics of a process as a scrape reads them."""

from prometheus_client.parser import text_string_to_metric_families

from vyry.telemetry import render_metrics


Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parse_metrics(text: str) -> Samples:
    """Each sample by its name and its labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def sample(samples: Samples, name: str, **labels: str) -> float:
    """The value of one sample; 0 while there is none."""
    return samples.get((name, frozenset(labels.items())), 0.0)


def own_samples() -> Samples:
    """The metrics of this process."""
    return parse_metrics(render_metrics().decode())
