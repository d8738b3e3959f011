//! The icon in the menu bar, its menu and its tooltip.

#[cfg(target_os = "linux")]
pub mod host;
pub mod menu;

use std::sync::{Mutex, PoisonError};

use tauri::image::Image;
use tauri::menu::{CheckMenuItem, IsMenuItem, MenuItem, PredefinedMenuItem};
use tauri::tray::{MouseButton, MouseButtonState, TrayIcon, TrayIconBuilder, TrayIconEvent};
use tauri::{AppHandle, Manager, Wry};

use crate::desktop;
#[cfg(target_os = "linux")]
use crate::notification;
use crate::popover;
use crate::view::{AppView, Mood};
use menu::{Action, Entry, Menu};

const ID: &str = "ecto";

/// The width and height that build.rs draws with.
const SIZE: u32 = 44;

/// The pixels for a mood as a `template`, which macOS colours, or for any other `panel`.
macro_rules! drawn {
    ($look:literal, $mood:expr) => {
        drawn!($look, $mood, Private "private", Working "working", Public "public", NeedsYou "needs-you", Failed "failed")
    };
    ($look:literal, $mood:expr, $($known:ident $name:literal),*) => {{
        let pixels: &'static [u8] = match $mood {
            $(Mood::$known => include_bytes!(concat!(env!("OUT_DIR"), "/", $look, "-", $name, ".rgba")),)*
        };
        pixels
    }};
}

/// What the icon shows now, so that only what changed is sent to the system.
#[derive(Debug, Default)]
pub struct Shown(Mutex<Option<(Mood, String, Menu)>>);

fn picture(mood: Mood) -> Image<'static> {
    #[cfg(target_os = "macos")]
    let pixels = drawn!("template", mood);
    #[cfg(not(target_os = "macos"))]
    let pixels = drawn!("panel", mood);
    Image::new(pixels, SIZE, SIZE)
}

/// Puts the icon into the menu bar. Fails on Linux where nothing shows such icons.
pub fn build(app: &AppHandle, view: &AppView) -> tauri::Result<()> {
    let looks = looks_of(view);
    let menu = system_menu(app, &looks.2)?;
    TrayIconBuilder::with_id(ID)
        .icon(picture(looks.0))
        .icon_as_template(true)
        .tooltip(as_the_tray_takes_it(&looks.1))
        .menu(&menu)
        .show_menu_on_left_click(false)
        .on_menu_event(|app, event| {
            if let Some(action) = Action::named(event.id().as_ref()) {
                desktop::act(app, action);
            }
        })
        .on_tray_icon_event(|tray, event| {
            let TrayIconEvent::Click {
                button: MouseButton::Left,
                button_state,
                position,
                rect,
                ..
            } = event
            else {
                return;
            };
            match button_state {
                MouseButtonState::Down => popover::press(tray.app_handle()),
                MouseButtonState::Up => {
                    popover::toggle(tray.app_handle(), popover::Icon::clicked(position, rect));
                }
            }
        })
        .build(app)?;
    *shown(app) = Some(looks);
    Ok(())
}

/// Whether the icon is there.
pub fn is_there(app: &AppHandle) -> bool {
    app.tray_by_id(ID).is_some()
}

/// Where the icon is, as far as the system tells.
pub fn place(app: &AppHandle) -> Option<popover::Icon> {
    let rect = app.tray_by_id(ID)?.rect().ok()??;
    Some(popover::Icon::of(rect))
}

/// Brings the icon in line with what is to be shown.
pub fn show(app: &AppHandle, view: &AppView) {
    let Some(tray) = app.tray_by_id(ID) else {
        return;
    };
    let looks = looks_of(view);
    let before = shown(app).replace(looks.clone());
    if let Err(fault) = change(app, &tray, before.as_ref(), &looks) {
        tracing::warn!(%fault, "the icon was not changed");
    }
}

/// Has everything sent anew at the next [`show`]. A click turns the tick of an entry over by itself (muda 0.20), whether or not
/// what it stands for was done.
pub fn forget(app: &AppHandle) {
    *shown(app) = None;
}

fn change(
    app: &AppHandle,
    tray: &TrayIcon,
    before: Option<&(Mood, String, Menu)>,
    (mood, tooltip, menu): &(Mood, String, Menu),
) -> tauri::Result<()> {
    if before.is_none_or(|(shown, _, _)| shown != mood) {
        tray.set_icon_with_as_template(Some(picture(*mood)), true)?;
    }
    if before.is_none_or(|(_, shown, _)| shown != tooltip) {
        tray.set_tooltip(Some(as_the_tray_takes_it(tooltip)))?;
    }
    if before.is_none_or(|(_, _, shown)| shown != menu) {
        tray.set_menu(Some(system_menu(app, menu)?))?;
    }
    Ok(())
}

fn looks_of(view: &AppView) -> (Mood, String, Menu) {
    (
        view.mood(),
        menu::tooltip(view),
        Menu::of(view, std::process::id()),
    )
}

fn shown(app: &AppHandle) -> std::sync::MutexGuard<'_, Option<(Mood, String, Menu)>> {
    let shown: &Shown = app.state::<Shown>().inner();
    shown.0.lock().unwrap_or_else(PoisonError::into_inner)
}

fn system_menu(app: &AppHandle, menu: &Menu) -> tauri::Result<tauri::menu::Menu<Wry>> {
    let built = tauri::menu::Menu::new(app)?;
    for entry in &menu.0 {
        let item: Box<dyn IsMenuItem<Wry>> = match entry {
            Entry::State(text) => Box::new(MenuItem::new(app, plain(text), false, None::<&str>)?),
            Entry::Item { action, label } => Box::new(MenuItem::with_id(
                app,
                action.name(),
                plain(label),
                true,
                None::<&str>,
            )?),
            Entry::Check {
                action,
                label,
                on,
                enabled,
            } => Box::new(CheckMenuItem::with_id(
                app,
                action.name(),
                plain(label),
                *enabled,
                *on,
                None::<&str>,
            )?),
            Entry::Separator => Box::new(PredefinedMenuItem::separator(app)?),
        };
        built.append(&*item)?;
    }
    Ok(built)
}

/// A tooltip may be markup on Linux (StatusNotifierItem specification, `ToolTip`).
#[cfg(target_os = "linux")]
fn as_the_tray_takes_it(tooltip: &str) -> String {
    notification::without_markup(tooltip)
}

#[cfg(target_os = "macos")]
fn as_the_tray_takes_it(tooltip: &str) -> &str {
    tooltip
}

/// A label as it stands: `&` would mark the next letter.
fn plain(label: &str) -> String {
    label.replace('&', "&&")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOODS: [Mood; 5] = [
        Mood::Private,
        Mood::Working,
        Mood::Public,
        Mood::NeedsYou,
        Mood::Failed,
    ];

    /// What a picture covers, whatever its colours: of `side` by `side` fields, how much of each, from 0 to 255.
    fn shape(pixels: &[u8], side: u32) -> Vec<u32> {
        let step = SIZE / side;
        let alpha = |x, y| u32::from(pixels[(4 * (y * SIZE + x) + 3) as usize]);
        let cover = |field| {
            let (left, top) = (field % side * step, field / side * step);
            let inside =
                (0..step * step).map(|place| alpha(left + place % step, top + place / step));
            inside.sum::<u32>() / (step * step)
        };
        (0..side * side).map(cover).collect()
    }

    #[test]
    fn every_mood_is_told_by_its_shape_alone() {
        let looks = [
            MOODS.map(|mood| drawn!("template", mood)),
            MOODS.map(|mood| drawn!("panel", mood)),
        ];
        for pictures in looks {
            // As it is drawn, and as a screen of ordinary density shows it.
            for side in [SIZE, SIZE / 2] {
                let shapes = pictures.map(|pixels| shape(pixels, side));
                for (one, other) in (0..5).flat_map(|one| (0..one).map(move |other| (one, other))) {
                    let fields = shapes[one].iter().zip(&shapes[other]);
                    let differ = fields
                        .clone()
                        .filter(|(one, other)| one.abs_diff(**other) > 100);
                    let covered = fields.filter(|(one, other)| **one.max(other) > 100);
                    let (differ, covered) = (differ.count(), covered.count());
                    assert!(
                        20 * differ > covered,
                        "{:?} and {:?}: of {covered} fields {differ} differ",
                        MOODS[one],
                        MOODS[other]
                    );
                }
            }
        }
    }
}
