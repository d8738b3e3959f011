//! The lock in front of the gateway: a reverse proxy that lets through exact routes to key holders.
