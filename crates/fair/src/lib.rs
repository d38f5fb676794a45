//! A semaphore that shares its permits fairly between clients.
//!
//! [`FairSemaphore`] is work-conserving: a free permit goes to any client that requests it. When clients
//! compete, permits are granted round robin over clients, and first come, first served within one client
//! (start-time fair queueing with equal weights, one request per turn). A request for more permits than
//! are free waits in a bounded queue of its client.
//!
//! Optionally a client has to leave a part of the free permits to others ([`Share`]), so that a client
//! which holds its permits for long does not block a new client. This is the dynamic threshold of shared
//! packet buffers (Choudhury and Hahne, "Dynamic Queue Length Thresholds for Shared-Memory Packet
//! Switches", 1998).

mod semaphore;

pub use semaphore::{Acquire, FairPermit, FairSemaphore, QueueFull, Share};
