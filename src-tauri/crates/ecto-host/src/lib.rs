//! Puts engine and adapters together; the control socket and its client.
