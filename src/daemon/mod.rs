//! The shells of the three daemons.
