//! Which locales and languages a compiler speaks in, from the environment, and the names glibc tries for each.
//!
//! Only `LC_CTYPE` and `LC_MESSAGES` count: gcc and the assembler set no other category, clang sets none.

/// The variables that decide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocaleVariables {
    pub lc_all: String,
    pub lc_ctype: String,
    pub lc_messages: String,
    pub lang: String,
    pub language: String,
}

impl LocaleVariables {
    fn effective<'a>(&'a self, category: &'a str) -> &'a str {
        [self.lc_all.as_str(), category, &self.lang].into_iter().find(|name| !name.is_empty()).unwrap_or("C")
    }

    /// Distinct locales other than the built-in one.
    pub fn locales(&self) -> Vec<&str> {
        let mut names = vec![self.effective(&self.lc_ctype)];
        let messages = self.effective(&self.lc_messages);
        if !names.contains(&messages) {
            names.push(messages);
        }
        names.retain(|name| !is_builtin(name));
        names
    }

    /// Languages of messages, the preferred one first. `LANGUAGE` counts only where the locale is no built-in one.
    pub fn languages(&self) -> Vec<&str> {
        let messages = self.effective(&self.lc_messages);
        if is_builtin(messages) {
            return Vec::new();
        }
        let listed = self.language.split(':').filter(|name| !name.is_empty());
        let wanted: Vec<_> = if self.language.is_empty() { vec![messages] } else { listed.collect() };
        // The messages in the program itself are the C locale's: whatever comes after them is never reached.
        wanted.into_iter().take_while(|name| !is_builtin(name)).collect()
    }
}

fn is_builtin(name: &str) -> bool {
    matches!(name, "C" | "POSIX")
}

/// The directory names that glibc tries for `language[_TERRITORY][.codeset][@modifier]`, most specific first.
///
/// Empty for a name with a slash, which glibc takes for a path or refuses.
pub fn variants(name: &str) -> Vec<String> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Vec::new();
    }
    let (rest, modifier) = name.split_once('@').map_or((name, None), |(rest, modifier)| (rest, Some(modifier)));
    let (rest, codeset) = rest.split_once('.').map_or((rest, None), |(rest, codeset)| (rest, Some(codeset)));
    let language = rest.split_once('_').map_or(rest, |(language, _)| language);

    let mut names = Vec::new();
    for base in [rest, language] {
        for codeset in [codeset.map(str::to_owned), codeset.map(normalized), None] {
            for modifier in [modifier, None] {
                let mut variant = base.to_owned();
                if let Some(codeset) = &codeset {
                    variant.extend([".", codeset]);
                }
                if let Some(modifier) = modifier {
                    variant.extend(["@", modifier]);
                }
                if !names.contains(&variant) {
                    names.push(variant);
                }
            }
        }
    }
    names
}

/// As glibc normalises a codeset: letters and digits only, in lower case, `iso` before digits alone.
fn normalized(codeset: &str) -> String {
    let plain: String = codeset.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    if plain.chars().all(|c| c.is_ascii_digit()) { format!("iso{plain}") } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(lc_all: &str, lang: &str, language: &str) -> LocaleVariables {
        LocaleVariables {
            lc_all: lc_all.into(),
            lang: lang.into(),
            language: language.into(),
            ..LocaleVariables::default()
        }
    }

    #[test]
    fn the_strongest_variable_wins() {
        assert_eq!(variables("", "", "").locales(), [""; 0]);
        assert_eq!(variables("C", "de_DE.UTF-8", "de").locales(), [""; 0]);
        assert_eq!(variables("", "de_DE.UTF-8", "").locales(), ["de_DE.UTF-8"]);
        let mixed = LocaleVariables { lc_messages: "fr_FR".into(), ..variables("", "de_DE", "") };
        assert_eq!(mixed.locales(), ["de_DE", "fr_FR"]);
        assert_eq!(mixed.languages(), ["fr_FR"]);
    }

    #[test]
    fn language_is_a_list_that_c_ends() {
        assert_eq!(variables("", "de_DE", "sv:fr:C:en").languages(), ["sv", "fr"]);
        assert_eq!(variables("POSIX", "", "sv").languages(), [""; 0]);
        assert_eq!(variables("", "C.UTF-8", "").languages(), ["C.UTF-8"]);
    }

    #[test]
    fn names_from_specific_to_general() {
        assert_eq!(variants("de_DE.UTF-8"), ["de_DE.UTF-8", "de_DE.utf8", "de_DE", "de.UTF-8", "de.utf8", "de"]);
        assert_eq!(variants("C.UTF-8"), ["C.UTF-8", "C.utf8", "C"]);
        assert_eq!(variants("ca@valencia"), ["ca@valencia", "ca"]);
        assert_eq!(variants("de.88591")[1], "de.iso88591");
        assert_eq!(variants("../../etc"), [""; 0]);
        assert_eq!(variants(".."), [""; 0]);
    }
}
