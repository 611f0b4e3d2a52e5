//! Local look-alikes of vendors, for development and tests: servers of their own, with all state in memory.
//!
//! Nothing of the application uses them. The cargo feature `fakes` builds them in.

pub mod stripe;
