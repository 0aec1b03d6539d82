//! Text of strangers as a terminal, a page or a picture may have it: what would steer them is shown, not sent.

use super::source::BYTES;
use std::borrow::Cow;

/// Whether a character steers a terminal instead of being seen: a control other than end of line and tab, or one that
/// turns the direction of what follows.
fn steers(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\t') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text for people: such characters as `\u{1b}`, and what belongs to no character as the replacement character.
pub fn shown(text: &str) -> Cow<'_, str> {
    let unseen = |c: char| steers(c) || BYTES.contains(&c);
    replaced(text, unseen, |c| if steers(c) { c.escape_unicode().to_string() } else { "\u{fffd}".into() })
}

/// Lines of JSON or TOML, which hold such characters in strings alone: these as both escape them, `\u001b`.
pub fn escaped(text: &str) -> Cow<'_, str> {
    replaced(text, steers, |c| format!("\\u{:04x}", u32::from(c)))
}

fn replaced(text: &str, which: impl Fn(char) -> bool, by: impl Fn(char) -> String) -> Cow<'_, str> {
    if !text.contains(&which) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| if which(c) { out += &by(c) } else { out.push(c) });
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_shown_and_all_else_stays() {
        let plain = "a\tb\nµ ω ß 漢字 שלום \u{200d}";
        assert!(matches!(shown(plain), Cow::Borrowed(text) if text == plain));
        for (c, text, code) in [
            ('\u{1b}', "\\u{1b}", "\\u001b"),
            ('\r', "\\u{d}", "\\u000d"),
            ('\u{7f}', "\\u{7f}", "\\u007f"),
            ('\u{9b}', "\\u{9b}", "\\u009b"),
            ('\u{202e}', "\\u{202e}", "\\u202e"),
            ('\u{2066}', "\\u{2066}", "\\u2066"),
        ] {
            let whole = format!("a{c}b");
            assert_eq!((shown(&whole), escaped(&whole)), (format!("a{text}b").into(), format!("a{code}b").into()));
        }
    }
}
