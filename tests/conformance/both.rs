//! One store seen from both sides at once.
