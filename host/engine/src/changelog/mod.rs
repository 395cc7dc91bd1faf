//! Changelogs.
