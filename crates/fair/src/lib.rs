//! A semaphore that clients share fairly.
//!
//! [`FairSemaphore`] is work-conserving: a free permit goes to any client that asks. When clients
//! compete, each gets its turn, round robin over clients, first come first served within one
//! (start-time fair queueing with equal weights, one request a turn). A client that asks for more
//! than there is waits in a bounded queue of its own.
//!
//! Optionally a client leaves a part of what is free to others ([`Share`]), so that one which holds
//! its permits for long cannot make a newcomer wait for it. This is the dynamic threshold of shared
//! packet buffers (Choudhury and Hahne, "Dynamic Queue Length Thresholds for Shared-Memory Packet
//! Switches", 1998).

mod semaphore;

pub use semaphore::{Acquire, FairSemaphore, Permit, QueueFull, Share};
