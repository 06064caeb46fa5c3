//! Against GNU tar, bsdtar and Python's tarfile, both ways. A tool that is not there is skipped by
//! name.
