//! Names of a toolchain's programs.

/// The names that a program may go by elsewhere, the fullest first: `x86_64-linux-gnu-g++-12`, without the version, and without
/// the machine, `g++`.
pub fn plain_names(name: &str) -> Vec<String> {
    let unversioned = match name.rsplit_once('-') {
        Some((stem, version)) if is_version(version) => stem,
        _ => name,
    };
    let plain = unversioned.rsplit_once('-').map_or(unversioned, |(_, plain)| plain);
    let mut names = Vec::new();
    for candidate in [name, unversioned, plain] {
        if !candidate.is_empty() && !names.iter().any(|known| known == candidate) {
            names.push(candidate.to_owned());
        }
    }
    names
}

fn is_version(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(|c| c.is_ascii_digit() || c == '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_version_and_machine() {
        assert_eq!(plain_names("x86_64-linux-gnu-g++-12"), ["x86_64-linux-gnu-g++-12", "x86_64-linux-gnu-g++", "g++"]);
        assert_eq!(plain_names("aarch64-linux-gnu-as"), ["aarch64-linux-gnu-as", "as"]);
        assert_eq!(plain_names("clang-14"), ["clang-14", "clang"]);
        assert_eq!(plain_names("cc1plus"), ["cc1plus"]);
        assert_eq!(plain_names("lto-wrapper"), ["lto-wrapper", "wrapper"]);
        assert_eq!(plain_names("-12"), ["-12"]);
    }
}
