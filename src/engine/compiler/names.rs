//! Names of files as compilers take them apart: at the last slash, and at the last dot behind it.

use crate::model::job::Bytes;

/// The last component of a path.
pub fn file_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)
}

/// The last component without its extension.
pub fn stem(path: &[u8]) -> &[u8] {
    let name = file_name(path);
    &name[..name.iter().rposition(|&byte| byte == b'.').unwrap_or(name.len())]
}

/// `path` with the extension of its last component replaced, or added where there is none.
pub fn with_extension(path: &[u8], extension: &[u8]) -> Bytes {
    let replaced = file_name(path).len() - stem(path).len();
    Bytes::from([&path[..path.len() - replaced], b".", extension].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stems_are_of_the_last_component() {
        let check = |path: &str, expected: &str| assert_eq!(stem(path.as_bytes()), expected.as_bytes(), "{path}");
        check("a.c", "a");
        check("x.y/a", "a");
        check("x/a.b.c", "a.b");
        check("x/", "");
        check(".c", "");
    }

    #[test]
    fn extensions_are_replaced_in_the_last_component_only() {
        let check = |path: &str, expected: &str| {
            assert_eq!(with_extension(path.as_bytes(), b"d"), Bytes::from(expected.as_bytes()), "{path}");
        };
        check("a.o", "a.d");
        check("lib.x/a", "lib.x/a.d");
        check("x/a.b.lo", "x/a.b.d");
        check(".libs/.o", ".libs/.d");
    }
}
