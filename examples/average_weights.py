"""Average the weights of trained model folders of one shape (model soups: Wortsman et al. 2022, arXiv:2203.05482).

    python examples/average_weights.py models/new:0.8 models/old:0.2 -o models/mean
    python -m classifier export --model models/mean --samples TRAINING_MESSAGES --data OTHER_MESSAGES
    python -m classifier calibrate --model models/mean --data LABELLED_MESSAGES

It pays where one model was trained on from the other. Everything but the weights is the first folder's.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from classifier.errors import ClassifierError  # noqa: E402
from classifier.folder import CONFIG, WEIGHTS, ModelFolder  # noqa: E402


def average(folders: dict[Path, float]) -> dict[str, Tensor]:
    """The mean of the folders' weights.

    Args:
        folders: Model folder to its share.

    Raises:
        ClassifierError: The shares do not add up to 1, or the folders differ in tasks or shapes.
    """
    if abs(sum(folders.values()) - 1) > 1e-6:
        raise ClassifierError(f"The shares add up to {sum(folders.values()):g}; they must add up to 1.")
    tasks = {json.dumps(ModelFolder.read(folder).tasks.to_dict()) for folder in folders}
    weights = [load_file(folder / WEIGHTS) for folder in folders]
    shapes = {tuple((key, value.shape) for key, value in sorted(own.items())) for own in weights}
    if len(tasks) > 1 or len(shapes) > 1:
        raise ClassifierError("The folders differ in their tasks or in the shapes of their weights.")
    return {
        key: sum(share * own[key].float() for share, own in zip(folders.values(), weights, strict=True))
        .to(weights[0][key].dtype)
        .contiguous()
        for key in weights[0]
    }


def main() -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", metavar="FOLDER:SHARE", help="model folders with their share of the mean")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the model folder to write, which must be new")
    arguments = parser.parse_args()
    try:
        parts = [folder.rpartition(":") for folder in arguments.folders]
        mean = average({Path(folder): float(share) for folder, _, share in parts})
        first = Path(parts[0][0])
        # The ONNX files are the old weights'; reports and cards speak of them too.
        shutil.copytree(first, arguments.out, ignore=shutil.ignore_patterns("onnx", WEIGHTS, "README.md", "report.*"))
        save_file(mean, arguments.out / WEIGHTS, metadata={"format": "pt"})
    except (ClassifierError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"Wrote {arguments.out / CONFIG} and its weights; export it next.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
