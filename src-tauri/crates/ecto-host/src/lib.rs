//! Puts engine and adapters together; the control socket and its client.
//!
//! One [`host::Host`] runs at a time: the app, or `ecto connect` and `ecto serve` where there is no app. It holds the
//! [`lock`], runs the engine in one [`world`] (the real one, the lab or the sandbox), and answers [`request`]s on the
//! [`control`] socket. Everybody else is a [`client`]. What they are shown is a [`report::Report`]; what a person chose
//! once and for all is in [`preferences`], and what came through the guard in the [`record`].

mod administrator;
pub mod client;
pub mod control;
pub mod host;
mod kept_file;
pub mod lock;
pub mod offers;
mod open_files;
pub mod preferences;
pub mod record;
pub mod report;
pub mod request;
mod sandbox;
pub mod wanted_file;
pub mod world;
