//! The route that a path takes, name by name, as the kernel goes. Whoever follows it says at each name what stands there: on
//! this machine, in an archive, or in a tree that is being made.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use crate::model::limits::SYMLINKS_MAX;

#[derive(Debug)]
pub(super) struct Route {
    /// Without symlinks.
    at: PathBuf,
    /// Names still to go, the next one last.
    ahead: Vec<OsString>,
    n_symlinks: usize,
}

impl Route {
    /// From the root, where relative paths begin as well.
    pub(super) fn new(path: &Path) -> Self {
        Self { at: PathBuf::from("/"), ahead: names_last_first(path), n_symlinks: 0 }
    }

    /// What stands in the way next. None at the end.
    pub(super) fn next(&mut self) -> Option<PathBuf> {
        while let Some(name) = self.ahead.pop() {
            if name != ".." {
                return Some(self.at.join(name));
            }
            self.at.pop();
        }
        None
    }

    /// True where no name comes after the one that [`Self::next`] told last.
    pub(super) fn is_at_last(&self) -> bool {
        self.ahead.is_empty()
    }

    /// Goes on in the directory that [`Self::next`] told.
    pub(super) fn enter(&mut self, directory: PathBuf) {
        self.at = directory;
    }

    /// Goes on where the symlink that [`Self::next`] told leads. False where it is one more than the kernel follows, as it is
    /// sooner or later where they go round in circles.
    #[must_use = "a route may go round in circles"]
    pub(super) fn follow(&mut self, target: &Path) -> bool {
        self.n_symlinks += 1;
        if target.is_absolute() {
            self.at = PathBuf::from("/");
        }
        self.ahead.extend(names_last_first(target));
        self.n_symlinks <= SYMLINKS_MAX
    }

    /// The directory that was entered last.
    pub(super) fn end(self) -> PathBuf {
        self.at
    }
}

fn names_last_first(path: &Path) -> Vec<OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Where `path` leads among `links`, if everything else is a directory; none in circles.
    fn lead(path: &str, links: &BTreeMap<String, String>) -> Option<String> {
        let mut route = Route::new(Path::new(path));
        while let Some(next) = route.next() {
            match links.get(next.to_str().unwrap()) {
                Some(target) => {
                    if !route.follow(Path::new(target)) {
                        return None;
                    }
                }
                None => route.enter(next),
            }
        }
        Some(route.end().to_str().unwrap().to_owned())
    }

    #[track_caller]
    fn check(path: &str, links: &[(&str, &str)], expected: Option<&str>) {
        let links = links.iter().map(|(link, target)| (link.to_string(), target.to_string())).collect();
        assert_eq!(lead(path, &links).as_deref(), expected, "{path}");
    }

    #[test]
    fn dots_and_doubled_slashes_are_no_names() {
        check("/", &[], Some("/"));
        check("/a/./b//c/", &[], Some("/a/b/c"));
        check("a/b", &[], Some("/a/b"));
    }

    #[test]
    fn going_up_is_by_the_directory_and_stops_at_the_root() {
        check("/a/../b", &[], Some("/b"));
        check("/../../a/..", &[], Some("/"));
        check("/l/../b", &[("/l", "x/y")], Some("/x/b"));
        check("/a/l", &[("/a/l", "../../../b")], Some("/b"));
    }

    #[test]
    fn targets_start_beside_the_link_or_at_the_root() {
        check("/a/l/c", &[("/a/l", "b")], Some("/a/b/c"));
        check("/a/l/c", &[("/a/l", "/b")], Some("/b/c"));
        check("/a/l/c", &[("/a/l", "m"), ("/a/m", "../n"), ("/n", "/o/")], Some("/o/c"));
        check("/a/l", &[("/a/l", "/")], Some("/"));
    }

    #[test]
    fn circles_end() {
        check("/l", &[("/l", "l")], None);
        check("/a/l/c", &[("/a/l", "/b/l"), ("/b/l", "../a/l")], None);
        check("/l", &[("/l", "l/x")], None);
    }

    /// As many as the kernel follows, and not one more.
    #[test]
    fn symlinks_are_counted() {
        let chain = |length: usize| -> BTreeMap<String, String> {
            (0..length).map(|n| (format!("/{n}"), (n + 1).to_string())).collect()
        };
        assert_eq!(lead("/0", &chain(SYMLINKS_MAX)), Some(format!("/{SYMLINKS_MAX}")));
        assert_eq!(lead("/0", &chain(SYMLINKS_MAX + 1)), None);
    }

    #[test]
    fn the_last_name_is_told_apart() {
        let mut route = Route::new(Path::new("/a/"));
        assert_eq!((route.next(), route.is_at_last()), (Some(PathBuf::from("/a")), true));
        assert!(route.follow(Path::new("b/c")));
        for (name, is_last) in [("/b", false), ("/b/c", true)] {
            let next = route.next().unwrap();
            assert_eq!((next.as_path(), route.is_at_last()), (Path::new(name), is_last));
            route.enter(next);
        }
        assert_eq!(route.next(), None);
        let mut route = Route::new(Path::new("/a/.."));
        assert_eq!((route.next(), route.is_at_last()), (Some(PathBuf::from("/a")), false));
    }
}
