//! What is on the screen: which windows are shown, and whether something is drawn in them.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use x11rb::connection::Connection as _;
use x11rb::protocol::xproto::{
    Atom, AtomEnum, ConnectionExt as _, CreateWindowAux, ImageFormat, MapState, WindowClass,
};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

use super::{Display, LIMIT};

/// How often the screen is looked at; a picture of it takes about as long.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Text is smoothed and so has many colours; a window with fewer is empty.
const COLOURS_OF_TEXT: usize = 8;

/// A look at the screen.
pub struct Screen {
    connection: RustConnection,
    root: u32,
    pid: Atom,
    active: Atom,
}

/// A window that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    id: u32,
    /// From the left of the screen, in pixels.
    pub x: i32,
    /// From the top of the screen, in pixels.
    pub y: i32,
    /// In pixels.
    pub width: u16,
    /// In pixels.
    pub height: u16,
}

/// What a window shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    pixels: Vec<u8>,
}

impl Picture {
    /// How many colours there are in it.
    #[must_use]
    pub fn colours(&self) -> usize {
        let colours: HashSet<&[u8]> = self.pixels.chunks_exact(4).collect();
        colours.len()
    }
}

impl Screen {
    /// Looks at this desktop's screen.
    ///
    /// # Errors
    ///
    /// Where it has gone.
    pub fn of(display: &Display) -> Result<Self> {
        let (connection, number) = x11rb::connect(Some(display.name()))?;
        let root = connection
            .setup()
            .roots
            .get(number)
            .context("no screen")?
            .root;
        let atom = |name: &[u8]| anyhow::Ok(connection.intern_atom(false, name)?.reply()?.atom);
        let (pid, active) = (atom(b"_NET_WM_PID")?, atom(b"_NET_ACTIVE_WINDOW")?);
        Ok(Self {
            connection,
            root,
            pid,
            active,
        })
    }

    /// The window of this process that is shown, if there is one.
    ///
    /// # Errors
    ///
    /// Where the screen has gone.
    pub fn window(&self, pid: u32) -> Result<Option<Window>> {
        Ok(self.windows(pid)?.into_iter().next())
    }

    /// All windows of this process that are shown, open lists and menus among them.
    ///
    /// # Errors
    ///
    /// Where the screen has gone.
    pub fn windows(&self, pid: u32) -> Result<Vec<Window>> {
        let mut found = Vec::new();
        let mut windows = vec![self.root];
        while let Some(id) = windows.pop() {
            // A window may go while it is looked at.
            let Ok(tree) = self.connection.query_tree(id)?.reply() else {
                continue;
            };
            windows.extend(tree.children);
            if id != self.root
                && self.owner(id)? == Some(pid)
                && let Some(window) = self.shown(id)?
            {
                found.push(window);
            }
        }
        Ok(found)
    }

    /// Waits until this many windows of this process are shown.
    ///
    /// # Errors
    ///
    /// Where there are more or fewer.
    pub async fn wait_for_windows(&self, pid: u32, count: usize) -> Result<()> {
        let begin = Instant::now();
        loop {
            let windows = self.windows(pid)?;
            if windows.len() == count {
                return Ok(());
            }
            if begin.elapsed() > LIMIT {
                bail!("{windows:?} are shown");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until a window of this process is shown.
    ///
    /// # Errors
    ///
    /// Where none is.
    pub async fn wait_for_window(&self, pid: u32) -> Result<Window> {
        let begin = Instant::now();
        loop {
            if let Some(window) = self.window(pid)? {
                return Ok(window);
            }
            if begin.elapsed() > LIMIT {
                bail!("no window is shown");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until no window of this process is shown.
    ///
    /// # Errors
    ///
    /// Where one stays.
    pub async fn wait_for_no_window(&self, pid: u32) -> Result<()> {
        let begin = Instant::now();
        while let Some(window) = self.window(pid)? {
            if begin.elapsed() > LIMIT {
                bail!("{window:?} stays");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Waits until a window of this process has the focus; `None` stands for one that does not say whose it is.
    ///
    /// # Errors
    ///
    /// Where the focus stays elsewhere.
    pub async fn wait_for_focus(&self, pid: Option<u32>) -> Result<()> {
        let begin = Instant::now();
        loop {
            let property = self
                .connection
                .get_property(false, self.root, self.active, AtomEnum::WINDOW, 0, 1)?
                .reply()?;
            let window = property.value32().and_then(|mut windows| windows.next());
            if let Some(window) = window
                && self.owner(window)? == pid
            {
                return Ok(());
            }
            if begin.elapsed() > LIMIT {
                bail!("the window {window:?} has the focus");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until something is drawn in the window of this process.
    ///
    /// # Errors
    ///
    /// Where it stays empty.
    pub async fn wait_for_text(&self, pid: u32) -> Result<()> {
        let begin = Instant::now();
        loop {
            if let Some(window) = self.window(pid)?
                && let Ok(picture) = self.picture(window)
                && picture.colours() > COLOURS_OF_TEXT
            {
                return Ok(());
            }
            if begin.elapsed() > LIMIT {
                bail!("the window stays empty");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What a window shows now.
    ///
    /// # Errors
    ///
    /// Where it has gone.
    pub fn picture(&self, window: Window) -> Result<Picture> {
        let image = self
            .connection
            .get_image(
                ImageFormat::Z_PIXMAP,
                window.id,
                0,
                0,
                window.width,
                window.height,
                u32::MAX,
            )?
            .reply()?;
        Ok(Picture { pixels: image.data })
    }

    fn owner(&self, id: u32) -> Result<Option<u32>> {
        let property = self
            .connection
            .get_property(false, id, self.pid, AtomEnum::CARDINAL, 0, 1)?
            .reply();
        Ok(property
            .ok()
            .and_then(|property| property.value32()?.next()))
    }

    fn shown(&self, id: u32) -> Result<Option<Window>> {
        let attributes = self.connection.get_window_attributes(id)?.reply();
        let geometry = self.connection.get_geometry(id)?.reply();
        let place = self
            .connection
            .translate_coordinates(id, self.root, 0, 0)?
            .reply();
        let (Ok(attributes), Ok(geometry), Ok(place)) = (attributes, geometry, place) else {
            return Ok(None);
        };
        // Toolkits keep windows of one pixel for themselves.
        let for_people = geometry.width > 1 && geometry.height > 1;
        let window = Window {
            id,
            x: place.dst_x.into(),
            y: place.dst_y.into(),
            width: geometry.width,
            height: geometry.height,
        };
        Ok((for_people && attributes.map_state == MapState::VIEWABLE).then_some(window))
    }
}

/// Another program's window, which takes the focus. It goes when this is dropped.
pub struct OtherWindow {
    _screen: Screen,
}

impl OtherWindow {
    /// Opens it in the lower right of the screen.
    ///
    /// # Errors
    ///
    /// Where the screen has gone.
    pub fn open(display: &Display) -> Result<Self> {
        let screen = Screen::of(display)?;
        let id = screen.connection.generate_id()?;
        screen.connection.create_window(
            x11rb::COPY_DEPTH_FROM_PARENT,
            id,
            screen.root,
            900,
            600,
            200,
            100,
            0,
            WindowClass::INPUT_OUTPUT,
            x11rb::COPY_FROM_PARENT,
            &CreateWindowAux::new(),
        )?;
        screen.connection.map_window(id)?;
        screen.connection.sync()?;
        Ok(Self { _screen: screen })
    }
}
