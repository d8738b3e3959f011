//! A table of medians with their spread, and of the aims that one of the columns is judged by.

use std::collections::BTreeMap;

/// What a median is to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Aim {
    /// Less than this.
    Under(f64),
    /// This or less.
    AtMost(f64),
    /// Nearer to nought than this, on either side.
    Within(f64),
    /// As much as in the column of this number, or more.
    AtLeastThatOf(usize),
}

/// Rows of figures, a column for each subject, a figure for each round.
#[derive(Debug, Default)]
pub struct Table {
    order: Vec<String>,
    cells: BTreeMap<(String, usize), Vec<f64>>,
    aims: BTreeMap<String, Aim>,
}

impl Table {
    /// Adds one round's figure.
    pub fn put(&mut self, row: &str, column: usize, figure: f64) {
        if !self.order.iter().any(|known| known == row) {
            self.order.push(row.to_owned());
        }
        self.cells
            .entry((row.to_owned(), column))
            .or_default()
            .push(figure);
    }

    /// Says what a row is to be in the column that is judged.
    pub fn aim(&mut self, row: &str, aim: Aim) {
        self.aims.insert(row.to_owned(), aim);
    }

    /// The table in Markdown: the median of the rounds, and in brackets the least and the most; at the end of a row, what
    /// is aimed at in the column of the number `judged`, and whether its median is there.
    #[must_use]
    pub fn markdown(&self, columns: &[String], judged: Option<usize>) -> String {
        let mut text = format!("| | {} | Ecto's aim |\n|---|", columns.join(" | "));
        text.push_str(&"---:|".repeat(columns.len()));
        text.push_str("---|\n");
        for row in &self.order {
            let cells: Vec<String> = (0..columns.len())
                .map(|column| self.cell(row, column))
                .collect();
            let aim = self.judge(row, columns, judged);
            text.push_str(&format!("| {row} | {} | {aim} |\n", cells.join(" | ")));
        }
        text
    }

    fn judge(&self, row: &str, columns: &[String], judged: Option<usize>) -> String {
        let Some(aim) = self.aims.get(row) else {
            return "–".to_owned();
        };
        let median = judged.and_then(|column| self.median(row, column));
        let (what, other) = match aim {
            Aim::Under(most) => (format!("under {}", short(*most)), None),
            Aim::AtMost(most) => (format!("at most {}", short(*most)), None),
            Aim::Within(size) => (format!("within ±{}", short(*size)), None),
            Aim::AtLeastThatOf(column) => {
                let name = columns.get(*column).map_or("another", String::as_str);
                (format!("at least {name}"), self.median(row, *column))
            }
        };
        let is_met = median.and_then(|median| match aim {
            Aim::Under(most) => Some(median < *most),
            Aim::AtMost(most) => Some(median <= *most),
            Aim::Within(size) => Some(median.abs() < *size),
            Aim::AtLeastThatOf(_) => other.map(|other| median >= other),
        });
        let standing = match is_met {
            Some(true) => "met",
            Some(false) => "missed",
            None => "not measured",
        };
        format!("{what}, {standing}")
    }

    fn median(&self, row: &str, column: usize) -> Option<f64> {
        let mut figures = self.cells.get(&(row.to_owned(), column))?.clone();
        figures.sort_by(f64::total_cmp);
        let middle = figures.get(figures.len() / 2)?;
        Some(f64::midpoint(
            *middle,
            *figures.get((figures.len() - 1) / 2)?,
        ))
    }

    fn cell(&self, row: &str, column: usize) -> String {
        let figures = self.cells.get(&(row.to_owned(), column));
        let (Some(figures), Some(middle)) = (figures, self.median(row, column)) else {
            return "–".to_owned();
        };
        if figures.len() == 1 {
            return short(middle);
        }
        let least = figures.iter().copied().fold(f64::INFINITY, f64::min);
        let most = figures.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        format!("{} ({}–{})", short(middle), short(least), short(most))
    }
}

/// Three digits where there are that many, thousands in full, and a minus sign that is not a hyphen.
fn short(figure: f64) -> String {
    let digits = short_size(figure.abs());
    // What is rounded to nothing has no sign.
    let is_nothing = digits.chars().all(|digit| matches!(digit, '0' | '.'));
    if figure < 0.0 && !is_nothing {
        format!("−{digits}")
    } else {
        digits
    }
}

fn short_size(size: f64) -> String {
    if size >= 100.0 || size.fract() == 0.0 {
        let digits = format!("{size:.0}");
        let mut text = String::new();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        return text;
    }
    if size >= 10.0 {
        format!("{size:.1}")
    } else {
        format!("{size:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_the_median_and_the_spread() {
        let mut table = Table::default();
        for figure in [3.0, 1000.4, 12.34] {
            table.put("time", 1, figure);
        }
        table.put("lost", 0, 0.0);
        let columns = ["a".to_owned(), "b".to_owned()];
        assert_eq!(
            table.markdown(&columns, None),
            "| | a | b | Ecto's aim |\n|---|---:|---:|---|\n| time | – | 12.3 (3–1,000) | – |\n| lost | 0 | – | – |\n"
        );
    }

    #[test]
    fn an_aim_is_judged_by_the_median_of_the_judged_column() {
        let standing = |aim: Aim, figures: [f64; 2]| {
            let mut table = Table::default();
            for (column, figure) in figures.into_iter().enumerate() {
                // One round that went badly misses nothing, and one that went well saves nothing.
                for figure in [figure, figure, figure * 100.0, figure, figure / 100.0] {
                    table.put("row", column, figure);
                }
            }
            table.aim("row", aim);
            let columns = ["nginx 1".to_owned(), "guard".to_owned()];
            let text = table.markdown(&columns, Some(1));
            let cell = text.trim_end().trim_end_matches(" |").rsplit("| ").next();
            cell.unwrap().to_owned()
        };
        for (aim, figures, expected) in [
            (Aim::Under(60.0), [70.0, 59.9], "under 60, met"),
            (Aim::Under(60.0), [50.0, 60.0], "under 60, missed"),
            (Aim::AtMost(2.0), [0.0, 2.0], "at most 2, met"),
            (Aim::AtMost(2.0), [0.0, 2.1], "at most 2, missed"),
            (Aim::Within(4.5), [0.0, -4.4], "within ±4.50, met"),
            (Aim::Within(4.5), [0.0, -4.6], "within ±4.50, missed"),
            (Aim::Within(4.5), [0.0, 4.6], "within ±4.50, missed"),
            (Aim::AtLeastThatOf(0), [7.0, 7.0], "at least nginx 1, met"),
            (
                Aim::AtLeastThatOf(0),
                [7.1, 7.0],
                "at least nginx 1, missed",
            ),
        ] {
            assert_eq!(standing(aim, figures), expected, "{figures:?}");
        }
    }

    #[test]
    fn what_was_not_measured_is_neither_met_nor_missed() {
        let mut table = Table::default();
        table.put("speed", 1, 7.0);
        table.put("time", 0, 7.0);
        table.aim("speed", Aim::AtLeastThatOf(0));
        table.aim("time", Aim::Under(60.0));
        let text = table.markdown(&["a".to_owned(), "b".to_owned()], Some(1));
        assert!(text.contains("| at least a, not measured |"), "{text}");
        assert!(text.contains("| under 60, not measured |"), "{text}");
    }

    #[test]
    fn figures_are_short() {
        assert_eq!(short(1_234_567.8), "1,234,568");
        assert_eq!(short(0.123), "0.12");
    }

    #[test]
    fn whatever_is_less_than_nothing_has_the_same_sign() {
        for (figure, text) in [
            (-1234.5, "−1,234"),
            (-365.0, "−365"),
            (-10.3, "−10.3"),
            (-3.0, "−3"),
            (-2.5, "−2.50"),
            (-0.12, "−0.12"),
            (-0.001, "0.00"),
            (-0.0, "0"),
        ] {
            assert_eq!(short(figure), text, "{figure}");
        }
        let mut table = Table::default();
        for figure in [-365.2, -10.3, 4.0] {
            table.put("added", 0, figure);
        }
        assert!(
            table
                .markdown(&["a".to_owned()], None)
                .contains("| added | −10.3 (−365–4) |")
        );
    }
}
