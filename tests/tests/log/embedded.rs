//! What only the embedded log promises: one directory, several processes, damage that is noticed.
