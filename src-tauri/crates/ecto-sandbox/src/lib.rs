//! Stand-ins that speak the real protocols: tailscaled, the OpenClaw gateway, the public edge.
//!
//! Each listens on loopback or a unix socket alone, writes only in the folder it is given, and ends when it is dropped.
//! [`Sandbox`] starts all of them for `ecto --sandbox`; tests take the ones they need:
//!
//! ```
//! use ecto_sandbox::edge::Edge;
//! use ecto_sandbox::tailnet::Tailnet;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let tailnet = Tailnet::builder()
//!     .signed_in()
//!     .funnel_allowed()
//!     .start(folder.path())
//!     .await?;
//! let edge = Edge::start(&tailnet).await?;
//! assert!(tailnet.socket().exists());
//! assert_eq!(edge.resolvers().len(), 2);
//! # Ok(())
//! # }
//! ```

mod answer;
pub mod authority;
pub mod edge;
pub mod faults;
pub mod gateway;
mod latest;
mod life;
mod sandbox;
pub mod tailnet;

pub use sandbox::{PACE, Sandbox, SandboxBuilder, StartError};
