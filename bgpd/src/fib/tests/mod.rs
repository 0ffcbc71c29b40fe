//! Tests of the FIB as a whole: against a model of the kernel, and against the clock.

mod model;
mod rate;
