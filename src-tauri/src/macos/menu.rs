//! The menu of the app: nobody sees it, but its shortcuts work while the popover has the keyboard.

use tauri::menu::{Menu, MenuItem, PredefinedMenuItem, Submenu};
use tauri::{AppHandle, Wry};

use crate::tray::menu::Action;

/// Makes it. Its Quit is the one of the icon's menu, which hears what is chosen in either: Tauri's own would end the program
/// past the host, and what was wanted would be opened again at the next start.
pub fn build(app: &AppHandle) -> tauri::Result<Menu<Wry>> {
    let quit = MenuItem::with_id(app, Action::Quit.name(), "Quit Ecto", true, Some("Cmd+Q"))?;
    let own = Submenu::with_items(app, "Ecto", true, &[&quit])?;
    let copy = PredefinedMenuItem::copy(app, None)?;
    let select_all = PredefinedMenuItem::select_all(app, None)?;
    let edit = Submenu::with_items(app, "Edit", true, &[&copy, &select_all])?;
    Menu::with_items(app, &[&own, &edit])
}
