//! Errors for people.

use std::error::Error;

/// An error with all its causes, on one line.
pub fn with_causes(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Some errors already say what their cause says.
        let text = cause.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        source = cause.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Layer {
        #[error("cannot start")]
        Top(#[source] Box<Layer>),
        #[error("no socket: address in use")]
        Middle(#[source] Box<Layer>),
        #[error("address in use")]
        Bottom,
    }

    #[test]
    fn each_cause_is_told_once() {
        let error = Layer::Top(Layer::Middle(Layer::Bottom.into()).into());
        assert_eq!(with_causes(&error), "cannot start: no socket: address in use");
    }
}
