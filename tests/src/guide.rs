//! Configurations of the guides in `docs/`.

/// A configuration with other fields in the section that starts with `head`, in place of those of
/// their names and of the one left out. `indent` is what stands before each of its fields.
///
/// # Panics
/// If `part` has no field.
pub fn changed(head: &str, indent: &str, configuration: &str, part: &str, without: &str) -> String {
    let part = fields(indent, part);
    assert!(!part.is_empty());
    let is_kept = |name: &String| name != without && part.iter().all(|(other, _)| other != name);
    let kept = fields(indent, configuration).into_iter().filter(|(name, _)| is_kept(name));
    let all = kept.chain(part.clone()).map(|(_, text)| text);
    format!("{head}{}", all.collect::<String>())
}

/// The fields of a section, each with its name.
fn fields(indent: &str, text: &str) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        let Some(field) = line.strip_prefix(indent) else { continue };
        if !field.starts_with(' ') {
            fields.push((field.split(':').next().unwrap_or_default().to_owned(), String::new()));
        }
        let (_, text) = fields.last_mut().expect("a section starts with a field");
        text.extend([line, "\n"]);
    }
    fields
}
