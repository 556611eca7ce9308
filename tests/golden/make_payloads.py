"""Write the golden payloads of the current format version from the seeded scene of the format test.

    python tests/golden/make_payloads.py

Run once per format version; files of an older version are never written again.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np

from shared_models import codecs
from shared_models.codecs.payload import FORMAT_VERSION

HERE = Path(__file__).parent
FORMAT_TEST = HERE.parent / "shared_models" / "codecs" / "test_payload_format.py"


def main() -> None:
    """One payload and its plainly decoded arrays for each codec; existing files stay as they are."""
    spec = importlib.util.spec_from_file_location("payload_format", FORMAT_TEST)
    if spec is None or spec.loader is None:
        raise SystemExit(f"cannot load {FORMAT_TEST}")
    format_test = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(format_test)
    for name in sorted(codecs.CODECS):
        path = HERE / "payloads" / f"v{FORMAT_VERSION}_{name}.upsf"
        if path.exists():
            print(f"{path.name} exists, kept")
            continue
        payload = codecs.encode(format_test.golden_scene(), name)
        found = format_test.read_plainly(payload)
        arrays = {key: value for key, value in found.items() if isinstance(value, np.ndarray)}
        header = json.dumps({key: value for key, value in found.items() if key not in arrays})
        path.write_bytes(payload)
        np.savez_compressed(path.with_suffix(".npz"), header=np.array(header), **arrays)
        print(f"{path.name}: {len(payload)} bytes")


if __name__ == "__main__":
    main()
