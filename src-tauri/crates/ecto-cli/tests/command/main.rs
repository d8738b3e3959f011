//! The `ecto` command as a person and a script use it: the real program, in folders of its own, with an empty environment.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on ends by panicking"
)]

mod connecting;
mod documents;
mod folders;
mod help;
mod hosts;
mod keys;
mod machine;
mod open_files;
mod printing;
mod refusals;
mod requests;
mod restarting;
mod routes;
mod sandbox;
mod screen;
mod skill;
mod uninstalling;
