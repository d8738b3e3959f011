//! The popover as a panel: it shows over full-screen apps and on every Space, and takes the keyboard without bringing the
//! app to the front.

use dispatch2::DispatchQueue;
use tauri::{Manager, WebviewWindow};
use tauri_nspanel::{CollectionBehavior, ManagerExt, PanelLevel, StyleMask, WebviewWindowExt};

mod class {
    //! The class; the macro brings its own imports.
    #![allow(
        missing_docs,
        clippy::allow_attributes,
        clippy::undocumented_unsafe_blocks,
        clippy::unused_unit,
        reason = "made by the macro"
    )]

    use tauri_nspanel::tauri_panel;

    tauri_panel! {
        panel!(PopoverPanel {
            config: {
                can_become_key_window: true,
                can_become_main_window: false,
                is_floating_panel: true
            }
        })
    }
}

/// Makes the window a panel.
pub fn make(window: &WebviewWindow) -> tauri::Result<()> {
    let panel = window.to_panel::<class::PopoverPanel<tauri::Wry>>()?;
    panel.set_collection_behavior(
        CollectionBehavior::new()
            .can_join_all_spaces()
            .full_screen_auxiliary()
            .stationary()
            .value(),
    );
    panel.set_hides_on_deactivate(false);
    // Before it is shown for the first time, so that it does not become the key window as one that activates the app.
    dress(window);
    Ok(())
}

/// Has it lie above everything and leave the app behind it in front.
fn dress(window: &WebviewWindow) {
    let Ok(panel) = window.app_handle().get_webview_panel(window.label()) else {
        return;
    };
    panel.set_level(PanelLevel::PopUpMenu.value());
    if let Err(fault) = panel.set_style_mask(StyleMask::empty().nonactivating_panel().value()) {
        tracing::warn!(%fault, "the popover brings the app to the front");
    }
}

/// Dresses it once more. Decorations and level that a window is given take effect at the main queue's next turn (tao 0.37),
/// so this queues up after them, and gives back the keyboard that a change of its style may take.
pub fn dress_later(window: &WebviewWindow) {
    let window = window.clone();
    DispatchQueue::main().exec_async(move || {
        dress(&window);
        if let Ok(panel) = window.app_handle().get_webview_panel(window.label())
            && panel.is_visible()
        {
            panel.make_key_window();
        }
    });
}

/// Shows it and gives it the keyboard.
pub fn focus(window: &WebviewWindow) {
    match window.app_handle().get_webview_panel(window.label()) {
        Ok(panel) => panel.show_and_make_key(),
        // What the system refuses leaves a popover that is closed by a click on the icon.
        Err(_) => drop(window.set_focus()),
    }
}

/// Ends it: it has to be a window again first.
pub fn destroy(window: &WebviewWindow) -> tauri::Result<()> {
    let panel = window.app_handle().get_webview_panel(window.label());
    match panel.ok().and_then(|panel| panel.to_window()) {
        Some(window) => window.destroy(),
        None => window.destroy(),
    }
}
