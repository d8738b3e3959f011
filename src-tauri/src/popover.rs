//! The popover: made at the first opening, hidden when it loses the focus, let go of when nobody opened it for a while.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tauri::{
    AppHandle, Emitter, Manager, PhysicalPosition, Rect, WebviewUrl, WebviewWindow,
    WebviewWindowBuilder, Window, WindowEvent,
};

use crate::application::{Application, Uninstall};
use crate::placement::{self, Rectangle, Screen};
use crate::view::AppView;

/// The name of its window, also in the capability file.
pub const LABEL: &str = "popover";

/// What the page hears whenever something changed.
const EVENT: &str = "report";

/// What the page hears when it is no longer seen, so that it forgets: not every web view tells it.
const HIDDEN: &str = "hidden";

/// Its width, in points.
const WIDTH: f64 = 360.0;

/// Its least and its largest height, in points. What does not fit is scrolled.
const HEIGHTS: (f64, f64) = (120.0, 640.0);

/// About how high the title bar of a window is, in points.
const TITLE_BAR: f64 = 40.0;

/// Its height before the page first told its own, in points: that of the first look.
const FIRST_HEIGHT: f64 = 170.0;

/// How often it is looked whether the window that was shown is seen, and the pause before it is looked again.
const SHOWING: u32 = 100;
const SHOWS_SOON: Duration = Duration::from_millis(10);

/// How often it is looked whether the window has followed its page, and the first pause before it is looked again; each
/// further one is that much longer, five seconds in all.
#[cfg(target_os = "linux")]
const FITTING: u32 = 14;
#[cfg(target_os = "linux")]
const FITS_SOON: Duration = Duration::from_millis(50);

/// How long the focus may take from one window of the app to another.
#[cfg(target_os = "linux")]
const FOCUS_SETTLES: Duration = Duration::from_millis(50);

/// How often it is looked again once a list is closed: the window manager gives the focus back after that.
#[cfg(target_os = "linux")]
const LOOKS_AFTER_LIST: u32 = 5;

/// What is remembered between openings.
#[derive(Debug, Default)]
pub struct Popover {
    /// When it last lost the focus.
    left_at: Mutex<Option<Instant>>,
    /// Whether it was looked at when the button went down on the icon.
    looked_at_at_press: Mutex<Option<bool>>,
    openings: AtomicU64,
    /// Whether it got the focus since it was last shown.
    #[cfg(target_os = "linux")]
    was_focused: AtomicBool,
    is_window: AtomicBool,
    icon: Mutex<Option<Icon>>,
    height: Mutex<Option<f64>>,
}

impl Popover {
    fn size(&self) -> (f64, f64) {
        (WIDTH, locked(&self.height).unwrap_or(FIRST_HEIGHT))
    }
}

/// How it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// At the icon, until it loses the focus.
    Popover,
    /// As an ordinary window, for when there is no icon to be seen.
    Window,
}

/// Where the icon is, in the system's pixels.
#[derive(Debug, Clone, Copy)]
pub struct Icon(Rectangle);

impl Icon {
    /// The icon that was clicked. Where the system does not tell its rectangle, the point of the click stands for it.
    pub fn clicked(at: PhysicalPosition<f64>, rect: Rect) -> Self {
        let icon = Self::of(rect);
        if icon.0.width > 0.0 && icon.0.height > 0.0 {
            return icon;
        }
        Self(Rectangle {
            x: at.x,
            y: at.y,
            width: 0.0,
            height: 0.0,
        })
    }

    /// An icon of this rectangle.
    pub fn of(rect: Rect) -> Self {
        let position = rect.position.to_physical::<f64>(1.0);
        let size = rect.size.to_physical::<f64>(1.0);
        Self(Rectangle {
            x: position.x,
            y: position.y,
            width: size.width,
            height: size.height,
        })
    }
}

/// The button went down on the icon. However long it is held, what is then decides what the click does.
pub fn press(app: &AppHandle) {
    let is_looked_at = is_looked_at_or_was_until_now(app);
    *locked(&app.state::<Popover>().looked_at_at_press) = Some(is_looked_at);
}

/// The icon was clicked: shows the popover there, or hides it where it was looked at. Not every system tells of the press.
pub fn toggle(app: &AppHandle, icon: Icon) {
    let pressed = locked(&app.state::<Popover>().looked_at_at_press).take();
    if !pressed.unwrap_or_else(|| is_looked_at_or_was_until_now(app)) {
        return show(app, Some(icon), Manner::Popover, None);
    }
    if let Some(window) = app.get_webview_window(LABEL)
        && window.is_visible().unwrap_or(false)
    {
        hide(&window);
    }
}

/// Pressing the button on the icon may take the focus away first; that click hides what was looked at until then.
fn is_looked_at_or_was_until_now(app: &AppHandle) -> bool {
    let left = locked(&app.state::<Popover>().left_at).take();
    let application = app.state::<Arc<Application>>();
    let same_click = Duration::from_millis(application.launch.options.same_click);
    is_looked_at(app) || left.is_some_and(|left| left.elapsed() < same_click)
}

/// Shows it. `panel` names a part of the page to begin with.
pub fn show(app: &AppHandle, icon: Option<Icon>, manner: Manner, panel: Option<&str>) {
    if let Err(fault) = try_to_show(app, icon, manner, panel) {
        tracing::error!(%fault, "the popover could not be shown");
    }
}

fn try_to_show(
    app: &AppHandle,
    icon: Option<Icon>,
    manner: Manner,
    panel: Option<&str>,
) -> tauri::Result<()> {
    let state = app.state::<Popover>();
    state.openings.fetch_add(1, Ordering::SeqCst);
    let application = app.state::<Arc<Application>>();
    application.look_again();
    crate::notification::look(app);
    let window = match app.get_webview_window(LABEL) {
        Some(window) => {
            tell(app, &application.view());
            if let Some(panel) = panel {
                window.eval(format!("location.hash = '#{panel}'"))?;
            }
            window
        }
        None => create(app, panel)?,
    };
    let was_window = state
        .is_window
        .swap(manner == Manner::Window, Ordering::SeqCst);
    let is_open = window.is_visible().unwrap_or(false);
    if is_open && was_window && manner == Manner::Popover {
        // It is already there as a window, and stays one.
        state.is_window.store(true, Ordering::SeqCst);
    } else {
        dress(&window, manner)?;
        if !is_open {
            *locked(&state.icon) = icon.or_else(|| crate::tray::place(app));
            place(&window, manner)?;
        }
    }
    window.show()?;
    tell_once_seen(app.clone());
    focus(window);
    Ok(())
}

fn create(app: &AppHandle, panel: Option<&str>) -> tauri::Result<WebviewWindow> {
    let page = panel.map_or_else(
        || "index.html".to_owned(),
        |panel| format!("index.html#{panel}"),
    );
    let window = WebviewWindowBuilder::new(app, LABEL, WebviewUrl::App(page.into()))
        .title("Ecto")
        .inner_size(WIDTH, FIRST_HEIGHT)
        .resizable(false)
        .maximizable(false)
        .minimizable(false)
        .decorations(false)
        .always_on_top(true)
        .skip_taskbar(true)
        .visible(false)
        .focused(true)
        // The page shows what it is given and goes nowhere.
        .on_navigation(|address| {
            matches!(address.scheme(), "tauri") || address.host_str() == Some("tauri.localhost")
        })
        .build()?;
    #[cfg(target_os = "macos")]
    crate::macos::panel::make(&window)?;
    Ok(window)
}

fn dress(window: &WebviewWindow, manner: Manner) -> tauri::Result<()> {
    let is_window = manner == Manner::Window;
    window.set_decorations(is_window)?;
    window.set_always_on_top(!is_window)?;
    #[cfg(target_os = "macos")]
    crate::macos::panel::dress_later(window, is_window);
    window.set_skip_taskbar(!is_window)
}

fn place(window: &WebviewWindow, manner: Manner) -> tauri::Result<()> {
    let state = window.state::<Popover>();
    let size = state.size();
    let monitors = in_order(window)?;
    let screens: Vec<Screen> = monitors.iter().map(screen).collect();
    if manner == Manner::Window {
        return put(
            window,
            placement::centre(&screens, size, HEIGHTS.1 + TITLE_BAR),
        );
    }
    let icon = locked(&state.icon).map(|icon| icon.0);
    #[cfg(target_os = "macos")]
    let icon = {
        let pixels: Vec<f64> = monitors.iter().map(tauri::Monitor::scale_factor).collect();
        icon.and_then(|icon| placement::to_points(icon, &screens, &pixels))
    };
    put(window, placement::place(icon, &screens, size))
}

/// Follows the height of the page, in points. A popover grows away from its icon, a window from where a person put it.
pub fn resize(window: &WebviewWindow, height: f64) -> tauri::Result<()> {
    let state = window.state::<Popover>();
    let height = height.clamp(HEIGHTS.0, HEIGHTS.1);
    if locked(&state.height).replace(height) == Some(height) {
        return Ok(());
    }
    fit(window)?;
    #[cfg(target_os = "linux")]
    keep_fitting(window.clone(), height);
    Ok(())
}

fn fit(window: &WebviewWindow) -> tauri::Result<()> {
    let state = window.state::<Popover>();
    if state.is_window.load(Ordering::SeqCst) {
        let (width, height) = state.size();
        window.set_size(tauri::LogicalSize::new(width, height.min(room(window)?)))
    } else {
        place(window, Manner::Popover)
    }
}

/// How high the page may be for its window to fit on the screen that it is on, with its title bar; in points.
fn room(window: &WebviewWindow) -> tauri::Result<f64> {
    let Some(monitor) = window.current_monitor()? else {
        return Ok(HEIGHTS.1);
    };
    let (outer, inner) = (window.outer_size()?.height, window.inner_size()?.height);
    let area = monitor.work_area().size.height;
    let room = area.saturating_sub(outer.saturating_sub(inner));
    Ok((f64::from(room) / monitor.scale_factor()).max(HEIGHTS.0))
}

/// GTK drops a size that it is given while it is still busy with the one before (tao 0.37), so this tries until it has
/// effect or another one is wanted. What it never makes as low is left.
#[cfg(target_os = "linux")]
fn keep_fitting(window: WebviewWindow, height: f64) {
    tauri::async_runtime::spawn(async move {
        for look in 1..=FITTING {
            tokio::time::sleep(FITS_SOON * look).await;
            let is_wanted = *locked(&window.state::<Popover>().height) == Some(height);
            let is_window = window.state::<Popover>().is_window.load(Ordering::SeqCst);
            let fitting = match room(&window) {
                Ok(room) if is_window => height.min(room),
                Ok(_) | Err(_) => height,
            };
            let is_so = match (window.inner_size(), window.scale_factor()) {
                (Ok(size), Ok(scale)) => (f64::from(size.height) / scale - fitting).abs() < 1.0,
                (Ok(_) | Err(_), _) => true,
            };
            if is_so || !is_wanted || fit(&window).is_err() {
                return;
            }
        }
    });
}

fn put(window: &WebviewWindow, place: Option<Rectangle>) -> tauri::Result<()> {
    let Some(place) = place else {
        return Ok(());
    };
    #[cfg(target_os = "macos")]
    {
        window.set_size(tauri::LogicalSize::new(place.width, place.height))?;
        window.set_position(tauri::LogicalPosition::new(place.x, place.y))
    }
    #[cfg(not(target_os = "macos"))]
    {
        window.set_size(tauri::PhysicalSize::new(place.width, place.height))?;
        window.set_position(PhysicalPosition::new(place.x, place.y))
    }
}

/// The screens, the first of them the one with the menu bar.
fn in_order(window: &WebviewWindow) -> tauri::Result<Vec<tauri::Monitor>> {
    let mut monitors = window.available_monitors()?;
    if let Some(primary) = window.primary_monitor()? {
        monitors.sort_by_key(|monitor| monitor.position() != primary.position());
    }
    Ok(monitors)
}

fn screen(monitor: &tauri::Monitor) -> Screen {
    // A Mac's screens have points in common, other systems' have pixels.
    let (unit, scale) = if cfg!(target_os = "macos") {
        (1.0 / monitor.scale_factor(), 1.0)
    } else {
        (1.0, monitor.scale_factor())
    };
    let rectangle = |position: &PhysicalPosition<i32>, size: &tauri::PhysicalSize<u32>| Rectangle {
        x: f64::from(position.x) * unit,
        y: f64::from(position.y) * unit,
        width: f64::from(size.width) * unit,
        height: f64::from(size.height) * unit,
    };
    let area = monitor.work_area();
    Screen {
        bounds: rectangle(monitor.position(), monitor.size()),
        work_area: rectangle(&area.position, &area.size),
        scale,
    }
}

/// Gives the shown window the focus, without which it would never lose it.
///
/// GTK works off `show` later and drops a `set_focus` that comes before (tao 0.37), so this tries until it has effect.
#[cfg(target_os = "linux")]
fn focus(window: WebviewWindow) {
    let state = window.state::<Popover>();
    state.was_focused.store(false, Ordering::SeqCst);
    tauri::async_runtime::spawn(async move {
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            // Who took it away since then keeps it.
            if window.state::<Popover>().was_focused.load(Ordering::SeqCst) {
                return;
            }
            if window.is_visible().unwrap_or(false) {
                let _ = window.set_focus();
                if window.is_focused().unwrap_or(true) {
                    return;
                }
            }
        }
    });
}

#[cfg(target_os = "macos")]
fn focus(window: WebviewWindow) {
    crate::macos::panel::focus(&window);
}

/// Hides it.
pub fn hide(window: &WebviewWindow) {
    let app = window.app_handle().clone();
    if let Err(fault) = window.emit_to(LABEL, HIDDEN, ()) {
        tracing::warn!(%fault, "the page was not told to forget");
    }
    if let Err(fault) = window.hide() {
        tracing::warn!(%fault, "the popover could not be hidden");
    }
    let application = app.state::<Arc<Application>>();
    application.take_refusal(None);
    if application.uninstall_state() == Uninstall::Done {
        // The last words were read.
        return app.exit(0);
    }
    let kept = Duration::from_secs(application.launch.options.page_kept);
    let opening = app.state::<Popover>().openings.load(Ordering::SeqCst);
    tauri::async_runtime::spawn(async move {
        tokio::time::sleep(kept).await;
        let held = app.clone();
        // Windows end on the main thread alone, and only there nobody opens one meanwhile.
        let _ = app.run_on_main_thread(move || {
            let unused = held.state::<Popover>().openings.load(Ordering::SeqCst) == opening;
            if unused {
                let_go(&held);
            }
        });
    });
}

fn let_go(app: &AppHandle) {
    let Some(window) = app.get_webview_window(LABEL) else {
        return;
    };
    #[cfg(target_os = "macos")]
    let ended = crate::macos::panel::destroy(&window);
    #[cfg(not(target_os = "macos"))]
    let ended = window.destroy();
    if let Err(fault) = ended {
        tracing::warn!(%fault, "the page could not be let go of");
    }
}

/// Tells the page, where somebody sees it.
pub fn tell(app: &AppHandle, view: &AppView) {
    let Some(window) = app.get_webview_window(LABEL) else {
        return;
    };
    if let Err(fault) = window.emit_to(LABEL, EVENT, view) {
        tracing::warn!(%fault, "the page could not be told");
    }
}

/// What changes while it is being shown is told by nobody: until it is seen, the page is told nothing.
fn tell_once_seen(app: AppHandle) {
    tauri::async_runtime::spawn(async move {
        for _ in 0..SHOWING {
            if is_seen(&app) {
                return tell(&app, &app.state::<Arc<Application>>().view());
            }
            tokio::time::sleep(SHOWS_SOON).await;
        }
    });
}

/// Whether somebody sees it.
pub fn is_seen(app: &AppHandle) -> bool {
    app.get_webview_window(LABEL)
        .is_some_and(|window| window.is_visible().unwrap_or(false))
}

/// Whether somebody looks at it. A window may be behind others or on another workspace; only with the focus is it looked at.
pub fn is_looked_at(app: &AppHandle) -> bool {
    let is_window = app.state::<Popover>().is_window.load(Ordering::SeqCst);
    app.get_webview_window(LABEL).is_some_and(|window| {
        window.is_visible().unwrap_or(false) && (!is_window || window.is_focused().unwrap_or(false))
    })
}

/// Hides it when it loses the focus, and hides it in place of closing it.
pub fn on_window_event(window: &Window, event: &WindowEvent) {
    if window.label() != LABEL {
        return;
    }
    let Some(page) = window.get_webview_window(LABEL) else {
        return;
    };
    let state = window.state::<Popover>();
    if let WindowEvent::CloseRequested { api, .. } = event {
        api.prevent_close();
        hide(&page);
    } else if matches!(event, WindowEvent::Focused(true)) {
        #[cfg(target_os = "linux")]
        state.was_focused.store(true, Ordering::SeqCst);
    } else if matches!(event, WindowEvent::Focused(false)) && page.is_visible().unwrap_or(false) {
        if state.is_window.load(Ordering::SeqCst) {
            *locked(&state.left_at) = Some(Instant::now());
            return;
        }
        #[cfg(target_os = "linux")]
        hide_unless_focus_is_ours(page);
        #[cfg(target_os = "macos")]
        hide_after_blur(&page);
    }
}

/// The list of a `<select>` is a window of its own and takes the focus from the page it belongs to, and so does a context
/// menu. GTK tells neither, so this looks who has the focus once it has settled, and again until the list is closed.
#[cfg(target_os = "linux")]
fn hide_unless_focus_is_ours(page: WebviewWindow) {
    use gtk::glib::ControlFlow;

    let mut looks_left = 0;
    gtk::glib::timeout_add_local(FOCUS_SETTLES, move || {
        let state = page.state::<Popover>();
        let is_ours = page.is_focused().unwrap_or(false);
        let is_open = page.is_visible().unwrap_or(false);
        if gtk::grab_get_current().is_some() {
            looks_left = LOOKS_AFTER_LIST;
            return ControlFlow::Continue;
        }
        if is_ours || !is_open || state.is_window.load(Ordering::SeqCst) {
            return ControlFlow::Break;
        }
        if looks_left > 0 {
            looks_left -= 1;
            return ControlFlow::Continue;
        }
        hide_after_blur(&page);
        ControlFlow::Break
    });
}

fn hide_after_blur(page: &WebviewWindow) {
    *locked(&page.state::<Popover>().left_at) = Some(Instant::now());
    hide(page);
}

fn locked<Value>(value: &Mutex<Value>) -> std::sync::MutexGuard<'_, Value> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
