"""NIfTI volumes: reading, where their voxels lie in the patient, and the way back to the file's own grid."""

import dataclasses
import functools
import itertools
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.orientations import axcodes2ornt, io_orientation

from ich.base.errors import InputError
from ich.scans.nifti_file import check_declared, open_nifti, read_voxels, without_trailing_axes
from ich.scans.window import unsquare

AFFINE_TOLERANCE_MM = 0.01
KNOWN_CODES = range(6)  # of qform and sform: unknown, scanner, aligned, Talairach, MNI, template
SMALLEST_VOXEL_MM, LARGEST_VOXEL_MM = 1e-3, 1e3
HEAD_VOXEL_MM = (0.1, 20.0)  # smallest and largest side that a scan of a head has
UNITS = {1: "metres", 3: "microns"}  # codes of xyzt_units other than mm (2) and unknown (0)
DENSE_HU = 200  # above are bone and metal only
STORED_BRAIN = (1005, 1104)  # brain of 5 to 80 HU without an intercept of -1000 or -1024
MOST_AT_STORED_BRAIN = 0.5  # of what is dense; bone has few values of one range
MASK_VALUES = "0 and one other value (255)"
ROUNDING = 1e-3  # of a mask's value, by which floats may differ


@dataclasses.dataclass(frozen=True)
class Grid:
    """Where voxels of a file's array (axes 0, 1, 2) lie in the patient.

    `affine` is 4x4, voxel index -> mm, RAS+. Slices are those along axis 2.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    @functools.cached_property
    def ornt(self) -> np.ndarray:
        """nibabel's orientation: for each file axis the patient axis (0 left-right, 1, 2) and its direction."""
        return io_orientation(self.affine)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between slices, rows and columns of an upright slice, in mm."""
        size = np.linalg.norm(self.affine[:3, :3], axis=0)
        rows, columns = (1, 0) if self.ornt[0, 0] == 0 else (0, 1)
        return float(size[2]), float(size[rows]), float(size[columns])

    def upright(self, plane: np.ndarray) -> np.ndarray:
        """Turn a slice of the file (axis 0, axis 1) as a radiologist sees it.

        Rows run from anterior to posterior, columns from the patient's right to left.
        """
        ornt = self.ornt
        if ornt[0, 0] == 0:  # the file's first axis is left-right: it becomes the columns
            plane = plane.T
        flip_rows, flip_columns = self._flips
        return plane[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]

    def as_filed(self, plane: np.ndarray) -> np.ndarray:
        """Undo `upright`."""
        flip_rows, flip_columns = self._flips
        plane = plane[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
        return plane.T if self.ornt[0, 0] == 0 else plane

    @functools.cached_property
    def _flips(self) -> tuple[bool, bool]:
        direction = {int(axis): sign for axis, sign in self.ornt}
        return direction[1] > 0, direction[0] > 0  # towards anterior, towards right: the wrong way round


def read_nifti(path: Path) -> nib.Nifti1Image:
    """Open a NIfTI file (header only). Axes of length one behind the third are dropped.

    Raises InputError for a missing, damaged or not three-dimensional file.
    """
    image = without_trailing_axes(open_nifti(path))
    if len(image.shape) != 3 or min(image.shape) < 1:
        raise InputError(f"{path}: has shape {image.shape}, expected three dimensions (a single CT volume)")
    if image.get_data_dtype().fields is not None or image.get_data_dtype().kind not in "iuf":
        raise InputError(f"{path}: has voxels of type {image.get_data_dtype()}, expected numbers")
    check_declared(path, image)
    return image


def read_hu(image: nib.Nifti1Image) -> np.ndarray:
    """The voxels of a CT in HU. Raises InputError for values that are no HU of a head."""
    voxels = read_voxels(image)
    for sample in (voxels[:, :, ::4], voxels):  # every fourth slice tells as a rule, and is read four times as fast
        low, high = sample.min(), sample.max()
        if low <= -100 and high >= 100:
            _refuse_stored(voxels[:, :, ::4], image.get_filename())
            _refuse_inverted(voxels[:, :, ::4], image.get_filename())
            return voxels
    name = image.get_filename()
    raise InputError(f"{name}: values run from {low} to {high}, expected HU of a head with air and bone")


def _refuse_stored(voxels: np.ndarray, name: str) -> None:
    """Raise InputError for values as scanners store them, whose intercept was lost: brain is brighter than bone then.

    Their range says nothing where the scanner pads with -2000.
    """
    low, high = STORED_BRAIN
    dense = np.count_nonzero(voxels > DENSE_HU)
    if np.count_nonzero((voxels >= low) & (voxels <= high)) > MOST_AT_STORED_BRAIN * dense:
        raise InputError(f"{name}: most of the head has values of {low} to {high}, as stored by a scanner, expected HU "
                         "(brain 0 to 80); convert it with slope and intercept")  # fmt: skip


def _refuse_inverted(voxels: np.ndarray, name: str) -> None:
    """Raise InputError where air, at the edges of the slices, is as bright as bone."""
    edges = [voxels[0], voxels[-1], voxels[:, 0], voxels[:, -1]]
    middle = float(np.median(np.concatenate([edge.ravel() for edge in edges])))
    if middle > DENSE_HU:
        raise InputError(f"{name}: the edges of its slices have {middle:g} (median), expected air below -200 HU; are "
                         "its values inverted?")  # fmt: skip


def grid(image: nib.Nifti1Image, orientation: str = "") -> Grid:
    """Where the voxels lie. `orientation` such as `LAS` is for a header that has none.

    One without gets nibabel's base affine otherwise, with one warning. Where the header has its own, that counts, and
    a warning says that `orientation` was not needed.
    Raises InputError for an affine that cannot be right and for slices that are not axial.
    """
    found = any_grid(image, orientation)
    if found.ornt[2, 0] != 2:
        codes = "".join(nib.aff2axcodes(found.affine))
        raise InputError(
            f"{image.get_filename()}: slices along the third axis are not axial (axes {codes}); reorient the file first"
        )
    return found


def any_grid(image: nib.Nifti1Image, orientation: str = "") -> Grid:
    """As `grid`, for any order of the axes."""
    path, affine, is_known = image.get_filename(), image.affine, has_orientation(image)
    _check_codes(image)
    if orientation:
        asked = _affine_from_codes(orientation, np.abs(image.header.get_zooms()))
        affine = affine if is_known else asked
    _check_affine(path, affine)
    if not image.header["sform_code"]:  # the voxel size comes from pixdim
        _check_pixdim(image)
    _check_units(image, affine)
    _note_disagreement(image)
    if orientation and is_known:
        warnings.warn(f"{path}: --orientation is not used: the header has an orientation, which counts", stacklevel=2)
    elif not is_known and not orientation:
        codes = "".join(nib.aff2axcodes(affine))
        warnings.warn(f"{path}: header has no orientation; taken as {codes} (--orientation overrides)", stacklevel=2)
    return Grid(image.shape, affine)


def _check_affine(path: str, affine: np.ndarray) -> None:
    size = np.linalg.norm(affine[:3, :3], axis=0)
    usable = np.isfinite(affine).all() and size.min() >= SMALLEST_VOXEL_MM and size.max() <= LARGEST_VOXEL_MM
    if not usable or abs(np.linalg.det(affine[:3, :3] / size)) < 0.1:
        raise InputError(f"{path}: its affine or voxel size is not usable (voxel size {size} mm); correct the header")


def _check_codes(image: nib.Nifti1Image) -> None:
    """Raise InputError for a qform or sform that could not be written again, with a mask."""
    for kind in ("qform", "sform"):
        try:
            matrix, code = getattr(image, f"get_{kind}")(coded=True)
            usable = int(code) in KNOWN_CODES and (matrix is None or np.isfinite(matrix).all())
        except ValueError:  # a quaternion of no rotation
            usable = False
        if not usable:
            raise InputError(f"{image.get_filename()}: its {kind} is not a usable affine; correct the header")


def _check_pixdim(image: nib.Nifti1Image) -> None:
    """Raise InputError for a voxel size of 0, which nibabel replaces by 1 mm without a word."""
    path = image.get_filename()
    with nib.openers.ImageOpener(path) as file:
        stored = type(image.header).from_fileobj(file, check=False)["pixdim"][1:4]
    if not (np.abs(stored) > 0).all():
        raise InputError(f"{path}: voxel size is {stored} mm in the header, expected numbers above 0; correct it")


def _check_units(image: nib.Nifti1Image, affine: np.ndarray) -> None:
    """Warn where the header's unit is wrong, raise InputError where it is right: everything here is in mm."""
    if not (unit := UNITS.get(int(image.header["xyzt_units"]) & 7)):
        return
    size, path = np.linalg.norm(affine[:3, :3], axis=0), image.get_filename()
    if size.min() < HEAD_VOXEL_MM[0] or size.max() > HEAD_VOXEL_MM[1]:
        raise InputError(f"{path}: its header is in {unit} (voxel size {size}), expected mm; convert it first")
    warnings.warn(f"{path}: header says {unit}, but voxels of {size.round(2)} are of mm; taken as mm", stacklevel=2)


def _note_disagreement(image: nib.Nifti1Image) -> None:
    """Warn where qform and sform are both set and put the voxels in different places."""
    header = image.header
    if header["qform_code"] and header["sform_code"]:
        distance = shift(image.shape, header.get_qform(), header.get_sform())
        if distance > AFFINE_TOLERANCE_MM:
            path = image.get_filename()
            warnings.warn(
                f"{path}: its qform and sform differ by up to {distance:.2f} mm; the sform counts", stacklevel=2
            )


def shift(shape: tuple[int, ...], one: np.ndarray, other: np.ndarray) -> float:
    """How far (mm) two affines put a corner voxel apart at most."""
    corners = np.array([[*corner, 1] for corner in itertools.product(*((0, n - 1) for n in shape))]).T
    return float(np.abs((one - other) @ corners).max())


def has_orientation(image: nib.Nifti1Image) -> bool:
    """False when both qform and sform codes are 0."""
    return bool(image.header["qform_code"] or image.header["sform_code"])


def check_mask(ct: nib.Nifti1Image, mask: nib.Nifti1Image) -> None:
    """Raise InputError unless the mask lies voxel on voxel on its CT (affines within 0.01 mm)."""
    if ct.shape != mask.shape:
        raise InputError(f"{mask.get_filename()}: mask has shape {mask.shape}, its CT has {ct.shape}")
    if not has_orientation(mask) or not has_orientation(ct):
        return
    distance = shift(ct.shape, ct.affine, mask.affine)
    if not distance <= AFFINE_TOLERANCE_MM:  # NaN too
        raise InputError(f"{mask.get_filename()}: mask lies {distance:.2f} mm off its CT (affines differ)")


def check_binary(voxels: np.ndarray, name: str) -> np.ndarray:
    """Return a mask's voxels as bool. Raises InputError unless they are 0 and one other value (but for rounding)."""
    found = np.abs(voxels) > ROUNDING if voxels.dtype.kind == "f" else voxels != 0
    value = voxels[found]
    if value.size and np.abs(value.astype(np.float64) - value[0]).max() > ROUNDING * abs(float(value[0])):
        raise InputError(f"{name}: mask has values {np.unique(voxels)[:5]}, expected 0 and one other (255)")
    if found.all():
        raise InputError(
            f"{name}: mask is {value[0]:g} everywhere, expected 0 outside the blood; is its scl_inter right?"
        )
    return found


def to_file_grid(probabilities: np.ndarray, where: Grid) -> np.ndarray:
    """Carry upright (slices, size, size) float32 probabilities back to the file's array, resampled linearly."""
    out = np.empty(where.shape, np.float32)
    rows, columns = where.upright(out[:, :, 0]).shape
    for index, plane in enumerate(probabilities):
        out[:, :, index] = where.as_filed(unsquare(plane, rows, columns))
    return out


def _affine_from_codes(codes: str, zooms: tuple[float, ...]) -> np.ndarray:
    letters = codes.upper()
    if len(letters) != 3 or {frozenset(pair) & set(letters) for pair in ("LR", "AP", "IS")} & {frozenset()}:
        raise InputError(f"--orientation '{codes}': expected three axis codes such as RAS or LPS")
    ornt = axcodes2ornt(letters)
    affine = np.zeros((4, 4))
    for axis, (target, sign) in enumerate(ornt):
        affine[int(target), axis] = sign * zooms[axis]
    affine[3, 3] = 1
    return affine
