//! A code to scan.

use fast_qr::convert::Builder;
use fast_qr::convert::svg::SvgBuilder;
use fast_qr::qr::QRBuilder;

use crate::refusal::Refusal;

/// Draws the text as an SVG picture, with the quiet zone that readers need.
pub fn svg(text: &str) -> Result<String, Refusal> {
    let code = QRBuilder::new(text)
        .build()
        .map_err(|_| Refusal::nothing("This is too long for a code to scan. Copy it instead."))?;
    Ok(SvgBuilder::default().margin(4).to_str(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_becomes_a_picture_and_one_that_does_not_fit_a_sentence() {
        let picture = svg("https://ecto.example.ts.net/v1").unwrap();
        assert!(picture.starts_with("<svg"), "{picture}");
        assert!(!picture.contains("script"));
        let refusal = svg(&"x".repeat(10_000)).unwrap_err();
        assert_eq!(refusal.code, "nothing_there");
    }
}
