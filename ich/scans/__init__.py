"""Any head CT (NIfTI, DICOM, PNG) to upright pixels in HU or grey levels, and masks back to its grid."""
