"""The curves of a training as an event file, which TensorBoard shows while the training runs."""

from pathlib import Path
from typing import Any

import keras

NAMES = "events.out.tfevents.*"
UNDIVIDED = ("learning_rate", "seconds")  # columns of the history that training and validation do not each have


class EventFile(keras.callbacks.Callback):
    """Writes the rows of `history` to an event file in `folder`, those of earlier epochs first.

    Called after the callback that appends a row. Each start replaces the file: a stopped training goes on from its last
    checkpoint, and the epochs after that would be there twice. Keras' own callback needs TensorFlow, whatever the
    backend, and does not see the validation, which is ours.
    """

    def __init__(self, folder: Path, history: list[dict[str, float]]) -> None:
        super().__init__()
        self.folder, self.history = folder, history
        self.writer: Any = None

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Begin the file, with the epochs that are there already."""
        from tensorboard.summary import Writer

        for path in self.folder.glob(NAMES):
            path.unlink()
        self.writer = Writer(str(self.folder))
        for row in self.history:
            self._add(row)
        self.writer.flush()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._add(self.history[-1])
        self.writer.flush()

    def on_train_end(self, logs: dict | None = None) -> None:
        self.writer.close()

    def _add(self, row: dict[str, float]) -> None:
        for name, value in row.items():
            if name != "epoch":
                self.writer.add_scalar(tag(name), value, int(row["epoch"]))


def tag(column: str) -> str:
    """The name of a curve: `dice/train`, `dice/valid` (of `val_dice`), under one heading, and `learning_rate`."""
    if column in UNDIVIDED:
        return column
    return f"{column.removeprefix('val_')}/{'valid' if column.startswith('val_') else 'train'}"
