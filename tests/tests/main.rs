//! Evidence that needs more than one crate, in one binary: a module for each subject.

mod delivery_model;
mod lossy_link;
mod call_vectors;
mod macro_services;
mod macro_ui;
