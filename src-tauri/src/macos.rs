//! What only a Mac has: the panel, the login item, the menu of the app, its notifications, its sleep and its naps.
//!
//! Each is a thin layer over one framework; what is decided, is decided elsewhere and tested everywhere.

pub mod activity;
pub mod login_item;
pub mod menu;
pub mod notification;
pub mod panel;
pub mod workspace;
