//! A private Linux desktop for the menu-bar app: a screen, a window manager, a session bus and a tray, all of them the
//! test's own.
//!
//! A [`Display`] is the screen with everything that a session has, in a temporary folder. A [`TrayHost`] is the panel: icons
//! register with it, and it reads and clicks them. An [`App`] is the program under test, a [`Driver`] drives the page in its
//! window. [`Usage`] is what a program and its children take from the machine. Everything started here ends with the test.

mod click;
mod clipboard;
mod display;
mod driver;
mod notifications;
mod process;
mod screen;
mod scripted_host;
mod sleep;
mod tray_host;
mod usage;

pub use clipboard::Clipboard;
pub use display::{Display, missing_programs};
pub use driver::{Driver, Element, Session};
pub use notifications::{Notifications, Shown};
pub use process::{App, Child, Output, program};
pub use screen::{OtherWindow, Picture, Screen, Window};
pub use scripted_host::ScriptedHost;
pub use sleep::{Delay, SleepService};
pub use tray_host::{Entry, Icon, Item, Kind, ToolTip, TrayHost};
pub use usage::{Memory, Usage, memory, processes, usage};

use std::time::Duration;

/// How long anything on the desktop may take, on a machine that does other things too.
pub const LIMIT: Duration = Duration::from_secs(60);

/// How often it is looked at where nothing tells.
const LOOK_EVERY: Duration = Duration::from_millis(10);
