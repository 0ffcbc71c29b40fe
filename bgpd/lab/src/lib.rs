//! A lab for BGP daemons: network namespaces as machines, Pods as Kubernetes makes them, real peers from Debian's
//! packages, and our own daemon among them. It drives everything through the tools an operator would use and judges by
//! what the peers and the kernel say themselves. It never sleeps for luck: it waits for conditions, with deadlines.

pub mod daemon;
pub mod demo;
pub mod drill;
pub mod flow;
pub mod kernel;
pub mod kernels;
pub mod load;
pub mod mrt;
pub mod net;
pub mod peers;
pub mod pod;
pub mod sandbox;
pub mod shell;
pub mod speaker;
pub mod uml;
pub mod wait;
