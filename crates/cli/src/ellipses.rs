//! Expands ranges in braces, MinIO's notation for lists of hosts: `kes-{1...4}.example.com`.

/// The maximum number of texts that one text expands to.
const TEXTS_MAX: usize = 1024;

/// The errors for braces that are not a range `{<first>...<last>}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidRange {
    #[error("braces hold a range like {{1...4}}, from a number to one that is not smaller")]
    Form,
    #[error("the ranges stand for more than {TEXTS_MAX} servers")]
    TooMany,
}

/// Expands a text to all texts of its ranges; without braces to itself.
///
/// Numbers are decimal, or hexadecimal if they have letters. They have leading zeros if the last number has.
pub(crate) fn expand(text: &str) -> Result<Vec<String>, InvalidRange> {
    let mut texts = vec![String::new()];
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (range, after) = after.split_once('}').ok_or(InvalidRange::Form)?;
        let numbers = numbers(range)?;
        if texts.len().saturating_mul(numbers.len()) > TEXTS_MAX {
            return Err(InvalidRange::TooMany);
        }
        let with = |text: &String| {
            let text = format!("{text}{before}");
            numbers.iter().map(move |number| format!("{text}{number}")).collect::<Vec<_>>()
        };
        texts = texts.iter().flat_map(with).collect();
        rest = after;
    }
    if rest.contains('}') {
        return Err(InvalidRange::Form);
    }
    Ok(texts.into_iter().map(|text| text + rest).collect())
}

fn numbers(range: &str) -> Result<Vec<String>, InvalidRange> {
    let (first, last) = range.split_once("...").ok_or(InvalidRange::Form)?;
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_digits(first) || !is_digits(last) {
        return Err(InvalidRange::Form);
    }
    let is_hex = [first, last].concat().bytes().any(|b| b.is_ascii_alphabetic());
    let number = |text| u64::from_str_radix(text, if is_hex { 16 } else { 10 });
    let (Ok(from), Ok(to)) = (number(first), number(last)) else { return Err(InvalidRange::Form) };
    let width = if last.starts_with('0') { last.len() } else { 0 };
    match to.checked_sub(from) {
        None => Err(InvalidRange::Form),
        Some(count) if usize::try_from(count).is_ok_and(|count| count < TEXTS_MAX) => {
            let text = |number: u64| {
                if is_hex { format!("{number:0width$x}") } else { format!("{number:0width$}") }
            };
            Ok((from..=to).map(text).collect())
        }
        Some(_) => Err(InvalidRange::TooMany),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_stand_for_each_of_their_numbers() {
        for (text, texts) in [
            ("kes:7373", &["kes:7373"][..]),
            ("", &[""]),
            (
                "https://kes-{1...3}:7373",
                &["https://kes-1:7373", "https://kes-2:7373", "https://kes-3:7373"],
            ),
            ("k{9...010}", &["k009", "k010"]),
            ("r{a...b}-{1...2}", &["ra-1", "ra-2", "rb-1", "rb-2"]),
            ("{7...7}", &["7"]),
        ] {
            assert_eq!(expand(text).unwrap(), texts, "{text}");
        }
    }

    #[test]
    fn other_braces_are_refused() {
        for text in ["{", "}", "{}", "{1..4}", "{4...1}", "{1...z}", "{1...4", "1...4}", "{-1...4}"]
        {
            assert_eq!(expand(text), Err(InvalidRange::Form), "{text}");
        }
        for text in ["{1...1025}", "{1...100}{1...100}", "{0...18446744073709551615}"] {
            assert_eq!(expand(text), Err(InvalidRange::TooMany), "{text}");
        }
    }
}
