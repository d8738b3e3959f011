//! A table of medians with their spread.

use std::collections::BTreeMap;

/// Rows of figures, a column for each subject, a figure for each round.
#[derive(Debug, Default)]
pub struct Table {
    order: Vec<String>,
    cells: BTreeMap<(String, usize), Vec<f64>>,
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

    /// The table in Markdown: the median of the rounds, and in brackets the least and the most.
    #[must_use]
    pub fn markdown(&self, columns: &[String]) -> String {
        let mut text = format!("| | {} |\n|---|", columns.join(" | "));
        text.push_str(&"---:|".repeat(columns.len()));
        text.push('\n');
        for row in &self.order {
            let cells: Vec<String> = (0..columns.len())
                .map(|column| self.cell(row, column))
                .collect();
            text.push_str(&format!("| {row} | {} |\n", cells.join(" | ")));
        }
        text
    }

    fn cell(&self, row: &str, column: usize) -> String {
        let Some(figures) = self.cells.get(&(row.to_owned(), column)) else {
            return "–".to_owned();
        };
        let mut figures = figures.clone();
        figures.sort_by(f64::total_cmp);
        let figure = |index: usize| figures.get(index).copied().unwrap_or_default();
        let (least, most) = (figure(0), figure(figures.len().saturating_sub(1)));
        let middle = f64::midpoint(figure(figures.len() / 2), figure((figures.len() - 1) / 2));
        if figures.len() == 1 {
            return short(middle);
        }
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
            table.markdown(&columns),
            "| | a | b |\n|---|---:|---:|\n| time | – | 12.3 (3–1,000) |\n| lost | 0 | – |\n"
        );
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
                .markdown(&["a".to_owned()])
                .contains("| added | −10.3 (−365–4) |")
        );
    }
}
