"""Reads what a run wrote for Prometheus with the parser of Prometheus' own client, and prints it as JSON.

    python read_metrics.py FILE

Comes out: {family: {"type": …, "help": …, "samples": [[name, {label: value}, number], …]}}. A file that is not in the
format ends it with the parser's own complaint.
"""

import json
import sys
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families


def main(path):
    families = {}
    for family in text_string_to_metric_families(Path(path).read_text()):
        assert family.name not in families, f"{family.name} stands there twice"
        samples = [[sample.name, sample.labels, sample.value] for sample in family.samples]
        families[family.name] = {"type": family.type, "help": family.documentation, "samples": samples}
    json.dump(families, sys.stdout)


main(*sys.argv[1:])
