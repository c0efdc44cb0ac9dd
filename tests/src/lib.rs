//! What the tests and the demonstration share: the images, and a stage on which a driver is run.

pub mod image;
