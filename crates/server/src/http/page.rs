//! Limits the length of a listing, so that clients can read the response.

/// The longest body of a listing, in bytes: clients stop reading at 1 MiB.
pub(crate) const BODY_LEN_MAX: usize = 1_000_000;

/// The most bytes that the JSON around the names takes.
const FRAME_LEN: usize = 256;

/// Returns as many names as fit in one response, and the first name that does not fit.
pub(crate) fn cut<T>(mut names: Vec<T>, text: impl Fn(&T) -> &str) -> (Vec<T>, Option<T>) {
    // Names need no escaping in JSON: two quotes and a comma each.
    let mut left = BODY_LEN_MAX - FRAME_LEN;
    let fitting = names.iter().take_while(|name| {
        let len = text(name).len() + 3;
        let fits = left >= len;
        left = left.saturating_sub(len);
        fits
    });
    let count = fitting.count();
    if count == names.len() {
        return (names, None);
    }
    let mut further = names.split_off(count);
    (names, Some(further.swap_remove(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_stays_in_one_page_until_the_body_is_full() {
        let few: Vec<String> = (0..5000).map(|n| format!("key-{n:05}")).collect();
        assert_eq!(cut(few.clone(), String::as_str), (few, None));

        let many: Vec<String> = (0..20_000).map(|n| format!("{n:080}")).collect();
        let (page, next) = cut(many.clone(), String::as_str);
        let body = serde_json::to_vec(&page).unwrap();
        assert!(body.len() < BODY_LEN_MAX && body.len() > BODY_LEN_MAX - 1000);
        assert_eq!(next.as_ref(), many.get(page.len()));
    }
}
