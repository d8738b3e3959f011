//! The popover as a panel: it shows over full-screen apps and on every Space, and takes the keyboard without bringing the
//! app to the front.

use dispatch2::DispatchQueue;
use objc2::msg_send;
use objc2::rc::Retained;
use objc2::runtime::NSObject;
use tauri::{Manager, WebviewWindow};
use tauri_nspanel::{CollectionBehavior, ManagerExt, PanelLevel, StyleMask, WebviewWindowExt};

/// How round the corners of the popover are, in points: as those of the system's own.
const CORNERS: f64 = 10.0;

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
    shape(window, CORNERS);
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

/// Cuts what it shows to round corners, with the shadow following them. The bar of an ordinary window comes with corners of
/// its own, so one gets none of these.
#[expect(unsafe_code, reason = "Objective-C calls")]
fn shape(window: &WebviewWindow, corners: f64) {
    let Ok(panel) = window.app_handle().get_webview_panel(window.label()) else {
        return;
    };
    panel.set_transparent(corners > 0.0);
    panel.set_corner_radius(corners);
    panel.set_has_shadow(true);
    let view = panel.content_view();
    // SAFETY: a view that was given corners has a layer, and is used on the main thread alone, as is its window.
    unsafe {
        let layer: Option<Retained<NSObject>> = msg_send![&*view, layer];
        if let Some(layer) = layer {
            let _: () = msg_send![&*layer, setMasksToBounds: corners > 0.0];
        }
        let _: () = msg_send![panel.as_panel(), invalidateShadow];
    }
}

/// Dresses it once more, as a popover or as an ordinary window. Decorations and level that a window is given take effect at the
/// main queue's next turn (tao 0.37), so this queues up after them, and gives back the keyboard that a change of its style may
/// take.
pub fn dress_later(window: &WebviewWindow, is_window: bool) {
    let window = window.clone();
    DispatchQueue::main().exec_async(move || {
        if is_window {
            return shape(&window, 0.0);
        }
        dress(&window);
        shape(&window, CORNERS);
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
