"""What a training of a classifier records of its settings, and which of them may differ between trainings compared."""

SAME = ("task", "network", "image_size", "epochs", "learning_rates", "batch_size", "rotation_deg", "shift_px", "seed")
# Recorded if not so: earlier versions know nothing of them.
LATER: dict[str, object] = {"balance": 0.0, "batch_norm_momentum": 0.0, "mirror": "both"}
OF_ONE = ("variant", "repeat", "seed", "steps", "neighbours", "series")  # may differ


def common(identity: dict) -> dict:
    """The part of an identity that is the same in all trainings compared."""
    return {name: value for name, value in (LATER | identity).items() if name not in OF_ONE}
