//! Section 4.7 of the standard as slow and obvious code. The fuzz targets compile this file too.

/// Whether the filter matches the name, by the words of the standard, on lists of levels.
pub(super) fn naive(filter: &str, name: &str) -> bool {
    let first_is_wildcard = filter.starts_with('+') || filter.starts_with('#');
    if name.starts_with('$') && first_is_wildcard {
        return false;
    }
    let filter: Vec<&str> = filter.split('/').collect();
    let name: Vec<&str> = name.split('/').collect();
    if let [parent @ .., "#"] = &filter[..] {
        let enough = name.len() >= parent.len();
        return enough && parent.iter().zip(&name).all(|(want, have)| *want == "+" || want == have);
    }
    filter.len() == name.len() && filter.iter().zip(&name).all(|(want, have)| *want == "+" || want == have)
}
