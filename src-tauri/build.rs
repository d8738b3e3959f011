//! Draws the icons from their SVG files, and tells Tauri which commands the page may call.

fn main() {
    #[cfg(feature = "app")]
    app::prepare();
}

#[cfg(feature = "app")]
mod app {
    use std::error::Error;
    use std::path::{Path, PathBuf};
    use std::{env, fs};

    use resvg::tiny_skia::{Pixmap, Transform};
    use resvg::usvg::{Options, Tree};

    /// All that the page can ask for; Tauri refuses it everything else.
    const COMMANDS: &[&str] = &[
        "view",
        "look",
        "connect",
        "disconnect",
        "reveal_key",
        "copy",
        "qr",
        "open_link",
        "check_outside",
        "regenerate_key",
        "read_keys",
        "add_key",
        "copy_key",
        "rename_key",
        "rotate_key",
        "revoke_key",
        "restart_gateway",
        "restore",
        "requests",
        "set_route",
        "set_origin",
        "set_preferences",
        "set_launch_at_login",
        "diagnostics",
        "save_diagnostics",
        "uninstall",
        "quit",
        "hide",
        "resize",
    ];

    const TRAY: [&str; 5] = ["private", "working", "public", "needs-you", "failed"];

    /// The width and height of a tray icon, in pixels.
    const TRAY_SIZE: u32 = 44;

    pub fn prepare() {
        if let Err(fault) = draw() {
            println!("cargo::error=The icons could not be drawn: {fault}");
            return;
        }
        let attributes = tauri_build::Attributes::new()
            .app_manifest(tauri_build::AppManifest::new().commands(COMMANDS));
        if let Err(fault) = tauri_build::try_build(attributes) {
            println!("cargo::error={fault:#}");
        }
    }

    fn draw() -> Result<(), Box<dyn Error>> {
        let sources = Path::new("../icons");
        println!("cargo::rerun-if-changed=../icons");
        println!("cargo::rerun-if-changed=build.rs");
        let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("there is no OUT_DIR")?);
        for name in TRAY {
            let template = fs::read_to_string(sources.join(format!("tray-{name}.svg")))?;
            for (look, svg) in [("panel", on_any_panel(&template)), ("template", template)] {
                fs::write(
                    out.join(format!("{look}-{name}.rgba")),
                    straight(&picture(&svg, TRAY_SIZE)?),
                )?;
            }
        }
        draw_app_icon(&fs::read_to_string(sources.join("ghost.svg"))?)
    }

    /// macOS colours a template by itself. Elsewhere nobody does, so the mark is white with a dark edge, which shows on a
    /// dark panel and on a light one.
    fn on_any_panel(svg: &str) -> String {
        let mark = svg.replace("#000", "#fff");
        let edge = svg
            .replace("stroke-width=\"2.2\"", "stroke-width=\"4.4\"")
            .replace("stroke-width=\"2.4\"", "stroke-width=\"4.6\"")
            .replace(
                "fill=\"#000\"",
                "fill=\"#000\" stroke=\"#000\" stroke-width=\"2.2\"",
            );
        let inside = |text: &str| {
            let begin = text.find("<path").unwrap_or(0);
            let end = text.rfind("</svg>").unwrap_or(text.len());
            text[begin..end].to_owned()
        };
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 32 32\"><g opacity=\".55\">{}</g>{}</svg>",
            inside(&edge),
            inside(&mark)
        )
    }

    fn picture(svg: &str, size: u32) -> Result<Pixmap, Box<dyn Error>> {
        let tree = Tree::from_str(svg, &Options::default())?;
        let mut pixmap = Pixmap::new(size, size).ok_or("a picture needs a size")?;
        let scale = |side: f32| f64::from(size) as f32 / side;
        let (width, height) = (tree.size().width(), tree.size().height());
        resvg::render(
            &tree,
            Transform::from_scale(scale(width), scale(height)),
            &mut pixmap.as_mut(),
        );
        Ok(pixmap)
    }

    /// The pixels without the alpha multiplied in, as a tray takes them.
    fn straight(pixmap: &Pixmap) -> Vec<u8> {
        pixmap
            .pixels()
            .iter()
            .flat_map(|pixel| {
                let pixel = pixel.demultiply();
                [pixel.red(), pixel.green(), pixel.blue(), pixel.alpha()]
            })
            .collect()
    }

    /// Tauri takes the app icon from files beside its configuration.
    fn draw_app_icon(svg: &str) -> Result<(), Box<dyn Error>> {
        let folder = Path::new("icons");
        fs::create_dir_all(folder)?;
        let png =
            |size| -> Result<Vec<u8>, Box<dyn Error>> { Ok(picture(svg, size)?.encode_png()?) };
        write_changed(&folder.join("icon.png"), &png(512)?)?;
        write_changed(&folder.join("128x128.png"), &png(128)?)?;
        write_changed(&folder.join("32x32.png"), &png(32)?)?;
        // An ICNS file is a header and named PNG files, each with its length.
        let mut icns = Vec::new();
        for (kind, size) in [
            (b"ic07", 128),
            (b"ic08", 256),
            (b"ic09", 512),
            (b"ic10", 1024),
            (b"ic11", 32),
            (b"ic12", 64),
        ] {
            let png = png(size)?;
            icns.extend_from_slice(kind);
            icns.extend_from_slice(&u32::try_from(png.len() + 8)?.to_be_bytes());
            icns.extend_from_slice(&png);
        }
        let mut file = b"icns".to_vec();
        file.extend_from_slice(&u32::try_from(icns.len() + 8)?.to_be_bytes());
        file.extend_from_slice(&icns);
        write_changed(&folder.join("icon.icns"), &file)
    }

    fn write_changed(path: &Path, content: &[u8]) -> Result<(), Box<dyn Error>> {
        if !fs::read(path).is_ok_and(|before| before == content) {
            fs::write(path, content)?;
        }
        Ok(())
    }
}
