"""Average the weights of trained model folders of one shape (model soups: Wortsman et al. 2022, arXiv:2203.05482).

    python examples/average_weights.py models/new:0.8 models/old:0.2 -o models/mean
    python -m classifier train --base models/mean --epochs 0 --data TRAINING_MESSAGES --out models/support

The second command calibrates, exports and reports the mean; give it the `--pooling` of the runs before. It pays where
one model was trained on from the other.
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from classifier.errors import ClassifierError  # noqa: E402
from classifier.export import read_trained  # noqa: E402
from classifier.folder import CONFIG, POLICY, TOKENIZER, WEIGHTS, WORDS  # noqa: E402

#: Values of config.json in which the folders must agree; equal shapes alone do not make equal models.
SAME = ("task_set", "pooling", "max_tokens", "n_layers", "n_heads", "activation", "sinusoidal_pos_embds")


def parts(words: Sequence[str]) -> list[tuple[Path, float]]:
    """Folders and shares as they were given, FOLDER:SHARE each.

    Raises:
        ClassifierError: A share is missing or no number, or they do not add up to 1.
    """
    found = []
    for word in words:
        folder, _, share = word.rpartition(":")
        try:
            found.append((Path(folder), float(share)))
        except ValueError:
            raise ClassifierError(f"{word!r} has no share; expected FOLDER:SHARE, such as models/a:0.8.") from None
    total = sum(share for _, share in found)
    if not math.isclose(total, 1, abs_tol=1e-6):
        raise ClassifierError(f"The shares add up to {total:g}; they must add up to 1.")
    return found


def average(folders: Sequence[tuple[Path, float]]) -> dict[str, Tensor]:
    """The mean of the folders' weights.

    Args:
        folders: Model folders and their shares.

    Raises:
        ClassifierError: A folder has no weights, or is of another kind than the first.
    """
    first = folders[0][0]
    expected, _ = read_trained(first)
    mean = {key: torch.zeros_like(value, dtype=torch.float64) for key, value in load_file(first / WEIGHTS).items()}
    for folder, share in folders:
        found, _ = read_trained(folder)
        weights = load_file(folder / WEIGHTS)
        unlike = [key for key in SAME if found.config.get(key) != expected.config.get(key)]
        if (folder / TOKENIZER).read_bytes() != (first / TOKENIZER).read_bytes():
            unlike.append("tokenizer")
        if {key: value.shape for key, value in weights.items()} != {key: value.shape for key, value in mean.items()}:
            unlike.append("shapes")
        if unlike:
            raise ClassifierError(f"{str(folder)!r} differs from {str(first)!r} in {', '.join(unlike)}.")
        for key, value in weights.items():
            mean[key] += share * value.double()
    return {key: value.float() for key, value in mean.items()}


def main() -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", metavar="FOLDER:SHARE", help="model folders with their share of the mean")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the model folder to write, which must be new")
    arguments = parser.parse_args()
    try:
        folders = parts(arguments.folders)
        mean = average(folders)
        arguments.out.mkdir(parents=True)
        # Calibration, report and ONNX files are those of other weights.
        for file in (CONFIG, TOKENIZER, WORDS, POLICY):
            if (folders[0][0] / file).is_file():
                shutil.copy(folders[0][0] / file, arguments.out)
        save_file(mean, arguments.out / WEIGHTS, metadata={"format": "pt"})
    except (ClassifierError, OSError, SafetensorError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"Wrote {arguments.out}; finish it with `train --base {arguments.out} --epochs 0`.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
