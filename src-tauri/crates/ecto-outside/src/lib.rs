//! The check from outside: public DNS, pinned addresses, verified TLS.
