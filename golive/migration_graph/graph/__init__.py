"""One graph out of many files: what each reference leads to, cycles, cuts, and the order of an upgrade."""
