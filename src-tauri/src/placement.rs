//! Where the popover goes.
//!
//! Everything is in one space of points or pixels; which one is the caller's business, since systems differ.

/// A rectangle; `x` grows to the right and `y` downwards.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rectangle {
    /// The left edge.
    pub x: f64,
    /// The upper edge.
    pub y: f64,
    /// From left to right.
    pub width: f64,
    /// From top to bottom.
    pub height: f64,
}

impl Rectangle {
    fn right(self) -> f64 {
        self.x + self.width
    }

    fn bottom(self) -> f64 {
        self.y + self.height
    }

    fn middle(self) -> (f64, f64) {
        (self.x + self.width / 2.0, self.y + self.height / 2.0)
    }

    fn holds(self, (x, y): (f64, f64)) -> bool {
        x >= self.x && x <= self.right() && y >= self.y && y <= self.bottom()
    }

    fn is_real(self) -> bool {
        [self.x, self.y, self.width, self.height]
            .iter()
            .all(|number| number.is_finite())
            && self.width >= 0.0
            && self.height >= 0.0
    }

    fn scaled(self, by: f64) -> Self {
        Self {
            x: self.x * by,
            y: self.y * by,
            width: self.width * by,
            height: self.height * by,
        }
    }
}

/// A screen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Screen {
    /// All of it.
    pub bounds: Rectangle,
    /// Without menu bar, notch, panels and Dock.
    pub work_area: Rectangle,
    /// How many units of this space a point of the popover takes.
    pub scale: f64,
}

/// The gap between the popover and what it hangs from, and the edges of the screen, in points.
const GAP: f64 = 6.0;

/// The largest icon that is believed, in points; a hidden one reports nonsense.
const LARGEST_ICON: f64 = 120.0;

/// How high a Mac's menu bar is, in points: without a notch and with one.
const MAC_BAR: std::ops::RangeInclusive<f64> = 20.0..=40.0;

/// How far an icon may be from the upper or lower edge of its screen, in points.
const BAR: f64 = 100.0;

/// Places a popover of this size, in points, at the icon. Where the icon is not believable it goes to the upper right of
/// the first screen. `None` where there is no screen.
pub fn place(icon: Option<Rectangle>, screens: &[Screen], size: (f64, f64)) -> Option<Rectangle> {
    let believed = icon.and_then(|icon| {
        let screen = screens.iter().find(|screen| is_icon_of(icon, screen))?;
        Some((icon, screen))
    });
    let Some((icon, screen)) = believed else {
        return Some(in_corner(screens.first()?, size));
    };
    let room = room_of(screen);
    let (width, height) = fitted(room, screen.scale, size);
    let gap = GAP * screen.scale;
    let is_above = icon.middle().1 <= screen.bounds.middle().1;
    let y = if is_above {
        icon.bottom().max(screen.work_area.y) + gap
    } else {
        icon.y.min(screen.work_area.bottom()) - gap - height
    };
    let x = icon.middle().0 - width / 2.0;
    Some(kept_inside(
        room,
        Rectangle {
            x,
            y,
            width,
            height,
        },
    ))
}

/// Places a window of this size, in points, on the first screen: where it would be in the middle once it has grown down to
/// be as high as it may. `None` where there is no screen.
pub fn centre(screens: &[Screen], size: (f64, f64), highest: f64) -> Option<Rectangle> {
    let screen = screens.first()?;
    let room = room_of(screen);
    let (width, height) = fitted(room, screen.scale, size);
    let (_, grown) = fitted(room, screen.scale, (size.0, highest));
    let (x, y) = room.middle();
    Some(Rectangle {
        x: x - width / 2.0,
        y: y - grown / 2.0,
        width,
        height,
    })
}

/// Brings an icon's rectangle, given in pixels of whichever screen it is on, into points. On a Mac every screen has pixels
/// of its own size, and only points are common to all; the screen is the one at whose upper edge the icon then is, as high
/// as a menu bar: seen from a screen with other pixels it is half as high or twice.
#[cfg_attr(
    not(any(target_os = "macos", test)),
    expect(dead_code, reason = "only a Mac has such screens")
)]
pub fn to_points(
    icon: Rectangle,
    screens: &[Screen],
    pixels_per_point: &[f64],
) -> Option<Rectangle> {
    let believed: Vec<Rectangle> = screens
        .iter()
        .zip(pixels_per_point)
        .filter(|(_, pixels)| **pixels > 0.0)
        .filter_map(|(screen, pixels)| {
            let points = icon.scaled(1.0 / pixels);
            is_icon_of(points, screen).then_some(points)
        })
        .collect();
    let as_high_as_bar = believed.iter().find(|icon| MAC_BAR.contains(&icon.height));
    as_high_as_bar.or(believed.first()).copied()
}

fn is_icon_of(icon: Rectangle, screen: &Screen) -> bool {
    let largest = LARGEST_ICON * screen.scale;
    let bar = BAR * screen.scale;
    let near_edge =
        icon.y - screen.bounds.y <= bar || screen.bounds.bottom() - icon.bottom() <= bar;
    icon.is_real()
        && icon.width <= largest
        && icon.height <= largest
        && screen.bounds.holds(icon.middle())
        && near_edge
}

fn in_corner(screen: &Screen, size: (f64, f64)) -> Rectangle {
    let room = room_of(screen);
    let (width, height) = fitted(room, screen.scale, size);
    Rectangle {
        x: room.right() - width,
        y: room.y,
        width,
        height,
    }
}

/// The work area without a narrow edge.
fn room_of(screen: &Screen) -> Rectangle {
    let gap = GAP * screen.scale;
    let area = screen.work_area;
    Rectangle {
        x: area.x + gap.min(area.width / 2.0),
        y: area.y + gap.min(area.height / 2.0),
        width: (area.width - 2.0 * gap).max(0.0),
        height: (area.height - 2.0 * gap).max(0.0),
    }
}

fn fitted(room: Rectangle, scale: f64, (width, height): (f64, f64)) -> (f64, f64) {
    (
        (width * scale).min(room.width),
        (height * scale).min(room.height),
    )
}

fn kept_inside(room: Rectangle, wanted: Rectangle) -> Rectangle {
    let within = |wanted: f64, low: f64, high: f64| wanted.min(high).max(low);
    Rectangle {
        x: within(wanted.x, room.x, room.right() - wanted.width),
        y: within(wanted.y, room.y, room.bottom() - wanted.height),
        ..wanted
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZE: (f64, f64) = (360.0, 560.0);

    fn rectangle(x: f64, y: f64, width: f64, height: f64) -> Rectangle {
        Rectangle {
            x,
            y,
            width,
            height,
        }
    }

    fn screen(bounds: Rectangle, bar: f64, scale: f64) -> Screen {
        Screen {
            bounds,
            work_area: rectangle(bounds.x, bounds.y + bar, bounds.width, bounds.height - bar),
            scale,
        }
    }

    fn is_inside(place: Rectangle, area: Rectangle) -> bool {
        let slack = 0.001;
        place.x >= area.x - slack
            && place.y >= area.y - slack
            && place.right() <= area.right() + slack
            && place.bottom() <= area.bottom() + slack
    }

    #[test]
    fn it_hangs_centred_under_an_icon_in_a_menu_bar_with_a_notch() {
        let screens = [screen(rectangle(0.0, 0.0, 1512.0, 982.0), 37.0, 1.0)];
        let place = place(Some(rectangle(1000.0, 0.0, 30.0, 37.0)), &screens, SIZE).unwrap();
        assert_eq!(place, rectangle(835.0, 43.0, 360.0, 560.0));
    }

    #[test]
    fn it_stands_above_an_icon_in_a_panel_at_the_bottom() {
        let bounds = rectangle(0.0, 0.0, 1280.0, 800.0);
        let work_area = rectangle(0.0, 0.0, 1280.0, 760.0);
        let screens = [Screen {
            bounds,
            work_area,
            scale: 1.0,
        }];
        let place = place(Some(rectangle(1240.0, 770.0, 22.0, 22.0)), &screens, SIZE).unwrap();
        assert_eq!(place, rectangle(914.0, 194.0, 360.0, 560.0));
    }

    #[test]
    fn a_menu_bar_that_hides_by_itself_does_not_cover_it() {
        // While the bar is shown, the work area still begins at the very top.
        let screens = [screen(rectangle(0.0, 0.0, 1440.0, 900.0), 0.0, 1.0)];
        let place = place(Some(rectangle(1000.0, 0.0, 30.0, 24.0)), &screens, SIZE).unwrap();
        assert_eq!(place.y, 30.0);
    }

    #[test]
    fn nonsense_of_a_hidden_icon_is_not_followed() {
        let screens = [screen(rectangle(0.0, 0.0, 1440.0, 900.0), 24.0, 1.0)];
        let corner = rectangle(1074.0, 30.0, 360.0, 560.0);
        for icon in [
            rectangle(0.0, -2000.0, 30.0, 24.0),
            rectangle(700.0, 450.0, 30.0, 24.0),
            rectangle(0.0, 0.0, 1440.0, 900.0),
            rectangle(f64::NAN, 0.0, 30.0, 24.0),
            rectangle(f64::INFINITY, 0.0, 30.0, 24.0),
            rectangle(100.0, 0.0, -30.0, 24.0),
        ] {
            assert_eq!(place(Some(icon), &screens, SIZE), Some(corner), "{icon:?}");
        }
        assert_eq!(place(None, &screens, SIZE), Some(corner));
        assert_eq!(place(None, &[], SIZE), None);
    }

    #[test]
    fn with_several_screens_it_opens_on_that_of_the_icon_in_its_scale() {
        let screens = [
            screen(rectangle(0.0, 0.0, 2880.0, 1800.0), 48.0, 2.0),
            screen(rectangle(2880.0, 0.0, 1920.0, 1080.0), 24.0, 1.0),
        ];
        let place = place(Some(rectangle(4000.0, 0.0, 30.0, 24.0)), &screens, SIZE).unwrap();
        assert_eq!(place, rectangle(3835.0, 30.0, 360.0, 560.0));
    }

    #[test]
    fn on_a_mac_with_mixed_scales_the_icon_is_found_in_points() {
        // A retina screen and, to its right, one with a pixel a point: both in points.
        let screens = [
            screen(rectangle(0.0, 0.0, 1440.0, 900.0), 24.0, 1.0),
            screen(rectangle(1440.0, 0.0, 1920.0, 1080.0), 24.0, 1.0),
        ];
        let pixels = [2.0, 1.0];
        let on_first = to_points(rectangle(2000.0, 0.0, 60.0, 48.0), &screens, &pixels);
        assert_eq!(on_first, Some(rectangle(1000.0, 0.0, 30.0, 24.0)));
        let on_second = to_points(rectangle(3000.0, 0.0, 30.0, 24.0), &screens, &pixels);
        assert_eq!(on_second, Some(rectangle(3000.0, 0.0, 30.0, 24.0)));
        let nowhere = to_points(rectangle(1000.0, -5000.0, 30.0, 24.0), &screens, &pixels);
        assert_eq!(nowhere, None);
    }

    #[test]
    fn on_a_mac_an_icon_that_could_be_on_either_screen_is_on_the_one_with_such_a_bar() {
        let screens = [
            screen(rectangle(0.0, 0.0, 1728.0, 1117.0), 37.0, 1.0),
            screen(rectangle(1728.0, 0.0, 1920.0, 1080.0), 24.0, 1.0),
        ];
        let pixels = [2.0, 1.0];
        let on_second = to_points(rectangle(3300.0, 0.0, 30.0, 24.0), &screens, &pixels);
        assert_eq!(on_second, Some(rectangle(3300.0, 0.0, 30.0, 24.0)));
        let on_first = to_points(rectangle(3300.0, 0.0, 60.0, 74.0), &screens, &pixels);
        assert_eq!(on_first, Some(rectangle(1650.0, 0.0, 30.0, 37.0)));
    }

    fn any_screen() -> impl Strategy<Value = Screen> {
        (
            -4000.0..4000.0f64,
            -3000.0..3000.0f64,
            320.0..6000.0f64,
            240.0..4000.0f64,
            0.0..100.0f64,
            prop::sample::select(vec![1.0, 1.25, 1.5, 2.0, 3.0]),
        )
            .prop_map(|(x, y, width, height, bar, scale)| {
                screen(rectangle(x, y, width, height), bar, scale)
            })
    }

    fn any_number() -> impl Strategy<Value = f64> {
        prop_oneof![4 => -5000.0..10000.0f64, 1 => any::<f64>()]
    }

    proptest! {
        #[test]
        fn it_is_always_whole_on_the_work_area_of_a_screen(
            screens in prop::collection::vec(any_screen(), 1..4),
            icon in prop::option::of((any_number(), any_number(), any_number(), any_number())),
        ) {
            let icon = icon.map(|(x, y, width, height)| rectangle(x, y, width, height));
            let place = place(icon, &screens, SIZE).unwrap();
            prop_assert!(screens.iter().any(|screen| is_inside(place, screen.work_area)), "{place:?}");
            prop_assert!(place.width <= SIZE.0 * 3.0 && place.width > 0.0);
            let window = centre(&screens, (SIZE.0, 170.0), SIZE.1).unwrap();
            prop_assert!(is_inside(window, screens[0].work_area));
            let grown = centre(&screens, SIZE, SIZE.1).unwrap();
            prop_assert!(is_inside(grown, screens[0].work_area));
            prop_assert!((grown.x - window.x).abs() < 0.001 && (grown.y - window.y).abs() < 0.001);
        }

        #[test]
        fn on_a_mac_an_icon_comes_back_from_pixels_to_its_points_on_every_screen(
            kinds in prop::collection::vec((prop::bool::ANY, 1024.0..4000.0f64, 22.0..38.0f64), 1..4),
            which in any::<prop::sample::Index>(),
            along in 0.0..1.0f64,
            width in 20.0..60.0f64,
        ) {
            let mut x = 0.0;
            let mut screens = Vec::new();
            let mut pixels = Vec::new();
            for (is_retina, width, bar) in &kinds {
                screens.push(screen(rectangle(x, 0.0, *width, 900.0), *bar, 1.0));
                pixels.push(if *is_retina { 2.0 } else { 1.0 });
                x += width;
            }
            let which = which.index(kinds.len());
            let bounds = screens[which].bounds;
            let bar = screens[which].work_area.y;
            let icon = rectangle(bounds.x + along * (bounds.width - width), 0.0, width, bar);
            let back = to_points(icon.scaled(pixels[which]), &screens, &pixels).unwrap();
            prop_assert!((back.x - icon.x).abs() < 0.001 && (back.height - icon.height).abs() < 0.001, "{back:?} {icon:?}");
        }

        #[test]
        fn it_never_covers_a_believable_icon_where_there_is_room(x in 0.0..1400.0f64, bar in 20.0..60.0f64) {
            let screens = [screen(rectangle(0.0, 0.0, 1440.0, 900.0), bar, 1.0)];
            let icon = rectangle(x, 0.0, 30.0, bar);
            let place = place(Some(icon), &screens, SIZE).unwrap();
            prop_assert!(place.y >= icon.bottom());
            prop_assert!(place.x - 1.0 <= icon.right() && place.right() + GAP + 30.0 >= icon.x);
        }
    }
}
