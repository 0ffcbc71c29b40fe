//! Tests of the FIB as a whole: against a model of the kernel, against a kernel whose notifications are lost, and against
//! the clock.

mod model;
mod overrun;
mod rate;
