//! Formats names for messages, and finds the known name that a misspelt one resembles.

/// Formats a name for messages: on one line, at most 80 characters.
pub(crate) fn shown(name: &str) -> String {
    const CHARACTERS_MAX: usize = 80;
    let mut shown: String =
        name.chars().take(CHARACTERS_MAX).flat_map(char::escape_debug).collect();
    if name.chars().nth(CHARACTERS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// Returns the known name that is most similar to the written one, if any is similar enough.
pub(crate) fn nearest<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const LIKENESS_MIN: f64 = 0.8;
    let written = shown(written).to_lowercase();
    let likeness = |name: &'a str| (strsim::jaro_winkler(&written, &name.to_lowercase()), name);
    let best = known.map(likeness).max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.filter(|(likeness, _)| *likeness >= LIKENESS_MIN).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_finds_its_right_one() {
        let known = || ["allow", "deny", "identities"].into_iter();
        assert_eq!(nearest("identites", known()), Some("identities"));
        assert_eq!(nearest("Allow", known()), Some("allow"));
        assert_eq!(nearest("paths", known()), None);
    }

    #[test]
    fn a_shown_name_is_one_short_line() {
        assert_eq!(shown("a\nb"), "a\\nb");
        assert_eq!(shown(&"x".repeat(81)), format!("{}…", "x".repeat(80)));
    }
}
