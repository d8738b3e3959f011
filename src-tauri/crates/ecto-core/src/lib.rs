//! The engine: what is wanted, what is, and the next step between them.
