"""Which finished trainings count: whole repeats under their own names, each once."""

from pathlib import Path

from ich.base import paths, record
from ich.base.errors import InputError
from ich.data import identity


def by_run(runs: Path, protocol: str) -> dict[str, list[paths.Training]]:
    """By run name the finished trainings that count: of the folds of the first repeat, those of all whole repeats.

    A repeat is whole if it has every fold that the first one has, so that a mean over repeats is one of equals.
    """
    found = paths.fold_trainings(runs, protocol)
    return {name: counted for name, trainings in found.items() if (counted := _whole(trainings))}


def _whole(trainings: list[paths.Training]) -> list[paths.Training]:
    wanted = _folds_of(trainings, 1)
    lacking = _lacking(trainings)
    return [each for each in trainings if each.fold in wanted and each.repeat not in lacking]


def note_left_out(runs: Path, protocol: str, name: str) -> None:
    """Print which repeats of a run are left out, and what to run to have them counted."""
    run = runs / protocol / name
    for repeat, folds in _lacking([each for each in paths.of_folds(run) if each.finished]).items():
        print(
            f"note: {run}: repeat {repeat} is left out until {', '.join(folds)} of it is finished; run the command "
            f"that trained it (in its run.json) again, with --repeats {repeat}"
        )


def _lacking(trainings: list[paths.Training]) -> dict[int, list[str]]:
    """Repeat -> folds that it lacks and the first one has."""
    wanted = _folds_of(trainings, 1)
    numbers = sorted({each.repeat for each in trainings})
    lacking = {number: [fold for fold in wanted if fold not in _folds_of(trainings, number)] for number in numbers}
    return {number: folds for number, folds in lacking.items() if folds}


def _folds_of(trainings: list[paths.Training], repeat: int) -> list[str]:
    return [each.fold for each in trainings if each.repeat == repeat]


def note_misnamed(runs: list[Path]) -> None:
    """Print which folders of finished trainings are left out because of their names."""
    for run in runs:
        for path in paths.misnamed(run, "fold"):
            print(f"note: {path}: skipped, since it is not named fold_01, fold_02, ...")
        for fold in paths.numbered(run, "fold").values():
            for path in paths.misnamed(fold, "repeat", paths.FIRST_REPEAT):
                print(f"note: {path}: skipped, since it is not named repeat_02, repeat_03, ...")


def refuse_copy(training: paths.Training) -> None:
    """Raise InputError for a copied folder of a fold or repeat: its patients would be counted twice."""
    found = identity.read(training.run)
    part, repeat = found.get("part"), found.get("repeat", 1)
    if part and part != training.fold.removeprefix("fold_").lstrip("0"):
        problem = f"was validated on part {part}, expected that of {training.fold}; is it a copy of another fold?"
    elif repeat != training.repeat:
        problem = f"is repeat {repeat}, expected repeat {training.repeat}; is it a copy of another one?"
    else:
        return
    raise InputError(f"{training.folder}: {problem} Delete it and run main_kfold.py again")


def without_copies(found: dict[str, list[paths.Training]]) -> dict[str, list[paths.Training]]:
    """Drop runs whose trainings (by run.json) are all in another run; of identical runs keep the shortest name."""
    trained = {name: {record.fingerprint(each.run) for each in trainings} for name, trainings in found.items()}
    kept: dict[str, list[paths.Training]] = {}
    for name in sorted(found, key=lambda name: (-len(trained[name]), baseline_first(name)[0], len(name), name)):
        if original := next((other for other in kept if trained[name] <= trained[other]), ""):
            print(f"note: {found[name][0].folder.parent}: a copy of {original}, skipped unless it is named")
        else:
            kept[name] = found[name]
    return kept


def baseline_first(name: str) -> tuple[int, str]:
    """Sort key: U-Net, then D-Unet, then all others by name."""
    known = ("unet", "dunet")
    return (known.index(name) if name in known else len(known), name)
