"""What every script needs and no image: flags, errors, file names, whole files, locks, tables, processes, Ray."""
