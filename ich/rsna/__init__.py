"""Classification of single head-CT slices: DICOM in, seven preprocessing variants, one comparison."""
