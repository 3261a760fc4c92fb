//! Modules that are reloaded when their file changes.
