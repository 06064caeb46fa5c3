//! Tests of the archive code as a whole.
