//! Finds placeholders in values: those that are replaced, and those that look like it.

/// Returns the text between the braces of `${…}`, if that is the whole text.
pub(crate) fn whole(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("${")?.strip_suffix('}')?;
    if inner.contains('}') { None } else { Some(inner.trim()) }
}

/// A part of a text that looks like a placeholder and is not replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreplaced {
    /// Of a shell or of Kubernetes: `$NAME`, `${NAME}`, `$(NAME)`.
    Dollar,
    /// A home folder: `~`, `~/`, `~user/`.
    Home,
    /// Of Windows: `%NAME%`.
    Percent,
    /// Of a template: `{{ name }}`.
    Template,
    /// Of a guide: `<name>`.
    Guide,
}

impl Unreplaced {
    /// Finds one in a text.
    pub(crate) fn of(text: &str) -> Option<Self> {
        if text.contains("${") || text.contains("$(") || has_dollar_name(text) {
            return Some(Self::Dollar);
        }
        if text == "~" || text.starts_with('~') && text.contains('/') {
            return Some(Self::Home);
        }
        if text.contains("{{") {
            return Some(Self::Template);
        }
        if text.len() > 2 && text.starts_with('<') && text.ends_with('>') {
            return Some(Self::Guide);
        }
        has_percent_name(text).then_some(Self::Percent)
    }

    /// Describes it for messages, without the text itself.
    pub(crate) fn clause(self) -> &'static str {
        match self {
            Self::Dollar => {
                "holds a placeholder, which is not replaced: only a whole value `${NAME}` is"
            }
            Self::Home => {
                "begins with `~`, which is not replaced by a home folder: write the whole path"
            }
            Self::Percent => "holds `%NAME%`, which is not replaced: only a whole `${NAME}` is",
            Self::Template => "holds `{{`: the template that it comes from has not been filled in",
            Self::Guide => "stands between `<` and `>`, as guides write what is to be filled in",
        }
    }
}

/// Returns whether a text has `%NAME%`. Percent-encoding has two hex digits: `%C3%A4`.
fn has_percent_name(text: &str) -> bool {
    let is_name = |part: &str| {
        let is_encoded = part.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
        let is_word = part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        part.len() > 2 && is_word && !is_encoded
    };
    let parts: Vec<_> = text.split('%').collect();
    let between = parts.get(1..parts.len().saturating_sub(1)).unwrap_or_default();
    between.iter().any(|part| is_name(part))
}

/// Returns whether a `$` at the start of a word is followed by a name: `$HOME/keys`, not `/srv/c$d`.
fn has_dollar_name(text: &str) -> bool {
    text.match_indices('$').any(|(at, _)| {
        let before = text.get(..at).and_then(|text| text.chars().next_back());
        let after = text.get(at + 1..).and_then(|text| text.chars().next());
        !before.is_some_and(char::is_alphanumeric)
            && after.is_some_and(|char| char.is_ascii_alphabetic() || char == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_text_is_replaced() {
        assert_eq!(whole("${NAME}"), Some("NAME"));
        assert_eq!(whole("${ file:/run/x }"), Some("file:/run/x"));
        for text in ["${NAME}/keys", "x${NAME}", "${A}${B}", "$NAME", "${NAME", "${A}/${B}"] {
            assert_eq!(whole(text), None, "{text}");
        }
    }

    #[test]
    fn what_looks_like_a_placeholder_is_reported() {
        for text in [
            "${VAR}/keys",
            "/var/lib/${VAR}",
            "${A}${B}",
            "https://${HOST}:8200",
            "~/keys",
            "~",
            "~kes/keys",
            "$HOME/keys",
            "/srv/$ENV/keys",
            "kes-$_env",
            "$(POD_NAME)",
            "/keys/$(pwd)",
            "{{ .Values.region }}",
            "{{region}}",
            "<your-region>",
            "%APPDATA%/keys",
            "C:/%USERPROFILE%",
        ] {
            assert!(Unreplaced::of(text).is_some(), "{text}");
        }
    }

    #[test]
    fn what_paths_and_names_can_hold_is_left_alone() {
        for text in [
            "",
            "/srv/c$/keys",
            "/srv/c$d",
            "$",
            "/srv/100%",
            "https://vault/%C3%A4%C3",
            "/srv/%ABC%/x",
            "/srv/keys~",
            "~backup",
            "/srv/~/keys",
            "a<b",
            "<>",
            "{a}",
            "/srv/$1",
            "X-Tls-Client-Cert",
            "arn:aws:kms:us-east-2:111122223333:key/1234abcd",
        ] {
            assert_eq!(Unreplaced::of(text), None, "{text}");
        }
    }
}
