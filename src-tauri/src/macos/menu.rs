//! The menu of the app: nobody sees it, but its shortcuts work while the popover has the keyboard. A web view gets Cmd-V and
//! the like from a menu alone.

use tauri::menu::{Menu, MenuItem, PredefinedMenuItem, Submenu};
use tauri::{AppHandle, Wry};

use crate::tray::menu::Action;

/// Makes it. Its Quit is the one of the icon's menu, which hears what is chosen in either: Tauri's own would end the program
/// past the host, and what was wanted would be opened again at the next start.
pub fn build(app: &AppHandle) -> tauri::Result<Menu<Wry>> {
    let quit = MenuItem::with_id(app, Action::Quit.name(), "Quit Ecto", true, Some("Cmd+Q"))?;
    let own = Submenu::with_items(app, "Ecto", true, &[&quit])?;
    let edit = Submenu::with_items(
        app,
        "Edit",
        true,
        &[
            &PredefinedMenuItem::undo(app, None)?,
            &PredefinedMenuItem::redo(app, None)?,
            &PredefinedMenuItem::separator(app)?,
            &PredefinedMenuItem::cut(app, None)?,
            &PredefinedMenuItem::copy(app, None)?,
            &PredefinedMenuItem::paste(app, None)?,
            &PredefinedMenuItem::select_all(app, None)?,
        ],
    )?;
    Menu::with_items(app, &[&own, &edit])
}
