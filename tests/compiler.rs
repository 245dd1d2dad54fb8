//! Golden cases: `tests/cases/compiler/*.txt` has lines `COMMAND => DECISION`. And properties of everything that reads bytes of
//! others.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its scene has failed")]

use farcc::engine::compiler::{
    Classification, CompilerFamily, Expansion, Files, Language, Native, assembled, classify, depfile, expand, native,
    options, same_commands, search, tokens,
};
use farcc::model::job::Bytes;
use proptest::prelude::*;

/// Words as a response file would have them: quotes as in a shell, no expansions. No file that the words name exists.
fn words(command: &str) -> Vec<Bytes> {
    let mut files = Files::from([(Bytes::from(*b"line"), Some(Bytes::from(command.as_bytes())))]);
    loop {
        match expand(&[Bytes::from(*b"@line")], &files).unwrap() {
            Expansion::Done(words) => return words,
            Expansion::Needs(missing) => files.insert(missing, None),
        };
    }
}

fn render(classification: Classification) -> String {
    match classification {
        Classification::StepAside(why) => format!("aside {why}"),
        Classification::Local(why) => format!("local {why}"),
        Classification::Compile(command) => {
            let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
            let mut shown =
                format!("{} {} -> {}", command.language.name(), text(&command.source), text(&command.output));
            if let Some(dependencies) = &command.dependencies {
                let kind = if dependencies.lists_system_headers { "MD" } else { "MMD" };
                shown += &format!(" {kind}={}", text(&dependencies.path));
            }
            if let Some(split) = &command.split_debug {
                shown += &format!(" dwo={}", text(split));
            }
            shown
        }
    }
}

fn check(family: CompilerFamily, text: &str) {
    let mut wrong = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (command, expected) = line.split_once(" => ").unwrap_or((line, ""));
        let found = render(classify(family, &words(command), &[]));
        if found != expected {
            wrong.push(format!("{command} => {found}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn gcc_commands() {
    check(CompilerFamily::Gcc, include_str!("cases/compiler/gcc.txt"));
    check(CompilerFamily::Gcc, include_str!("cases/compiler/both.txt"));
}

#[test]
fn clang_commands() {
    check(CompilerFamily::Clang, include_str!("cases/compiler/clang.txt"));
    check(CompilerFamily::Clang, include_str!("cases/compiler/both.txt"));
}

#[test]
fn side_files_are_called_after_output_or_source() {
    let command = words("gcc -fstack-usage -c dir/s.c -o o/t.x.o");
    let Classification::Compile(command) = classify(CompilerFamily::Gcc, &command, &[]) else { panic!() };
    for name in ["t.x.su", "s.su", "s.c.005t.original", "t.x.c.081i.cp", "s.i", "t.x.s", "t.x-s.ii", "s-t.su"] {
        assert!(command.may_name_side_file(name.as_bytes()), "{name}");
    }
    for name in ["s.py", "t.x.sh", "t.su", "s.c", "su", "t.x", "dir.su", "o.su", "Makefile", ""] {
        assert!(!command.may_name_side_file(name.as_bytes()), "{name}");
    }
    let command = words("gcc -c s.c");
    let Classification::Compile(command) = classify(CompilerFamily::Gcc, &command, &[]) else { panic!() };
    assert!(!command.may_name_side_file(b"s.su"));
}

#[test]
fn a_variable_that_makes_a_side_file_keeps_the_unit_here() {
    let env = [(Bytes::from(*b"DEPENDENCIES_OUTPUT"), Bytes::from(*b"x"))];
    let found = render(classify(CompilerFamily::Gcc, &words("gcc -c a.c"), &env));
    assert_eq!(found, "local environment: DEPENDENCIES_OUTPUT");
}

#[test]
fn dependency_runs_drop_outputs_and_keep_the_rest() {
    let check = |family, command: &str, expected: &str| {
        let Classification::Compile(command) = classify(family, &words(command), &[]) else { panic!("{command}") };
        assert_eq!(command.dependency_run(b"/list"), (!expected.is_empty()).then(|| words(expected)));
    };
    let added = "-E -v -MD -MF /list -MT x -o /dev/null";
    check(
        CompilerFamily::Gcc,
        "gcc -O2 -Wp,-MMD,a.d,-DX -Ia -x c -c a.c -o a.o",
        &format!("gcc {added} -O2 -Wp,-DX -Ia -x c a.c"),
    );
    check(CompilerFamily::Clang, "clang -MD -MP -MFa.d -MT t -S a.c", &format!("clang {added} -Qunused-arguments a.c"));
    check(CompilerFamily::Gcc, "gcc -c a.i", "");
}

/// `native` would mean the builder's processor.
#[test]
fn what_is_native_is_said_in_words() {
    let check = |family, written: &str, native: Native, expected: &str| {
        let Classification::Compile(command) = classify(family, &words(written), &[]) else { panic!("{written}") };
        assert!(command.is_native(), "{written}");
        assert_eq!(command.resolved(&native).words(), words(expected));
    };
    let specs = || Native::Specs(Bytes::new());
    let native = || Native::Words {
        cpu: Bytes::from(*b"znver3"),
        tune: Some(Bytes::from(*b"znver4")),
        features: vec![Bytes::from(*b"+avx")],
    };
    let told = "gcc -specs=/tmp/.farcc-native.specs";
    check(CompilerFamily::Gcc, "gcc -O2 -march=native -c a.c", specs(), &format!("{told} -O2 -march=native -c a.c"));
    check(CompilerFamily::Gcc, "gcc -mtune=native -c a.c", specs(), &format!("{told} -mtune=native -c a.c"));
    let feature = "-Xclang -target-feature -Xclang +avx";
    check(
        CompilerFamily::Clang,
        "clang -march=native -c a.c",
        native(),
        &format!("clang -march=znver3 -c a.c {feature}"),
    );
    check(
        CompilerFamily::Clang,
        "clang -mtune=native -c a.c",
        native(),
        &format!("clang -mtune=znver4 -c a.c {feature}"),
    );
}

/// Commands made of real options and odd words.
fn command_line() -> impl Strategy<Value = Vec<Bytes>> {
    let real: Vec<&str> = vec![
        "-c",
        "-S",
        "-o",
        "a.o",
        "a.c",
        "b.cc",
        "-x",
        "c++",
        "-MD",
        "-MF",
        "-MT",
        "-Wp,-MD,x",
        "-Wa,",
        "-Xclang",
        "-mllvm",
        "-I",
        "-D",
        "-include",
        "@x",
        "-",
        "--",
        "-g",
        "-gsplit-dwarf",
        "",
        "-E",
        "-###",
        "/",
        "x/",
        ".c",
        "-O2",
        "-march=native",
        "-fstack-usage",
        "-fdump-tree-all=x",
        "-fprofile-use=x",
        "-fplugin=./x",
        "-include-pch",
        "-Wa,-al=x,-I",
    ];
    let word = prop_oneof![
        4 => prop::sample::select(real).prop_map(|word| Bytes::from(word.as_bytes())),
        1 => prop::collection::vec(any::<u8>(), 0..12).prop_map(Bytes::from),
        1 => "-[a-zA-Z=,.-]{0,12}".prop_map(|word| Bytes::from(word.into_bytes())),
    ];
    prop::collection::vec(word, 0..12)
}

/// Text with what scanners look for in it.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&str> = vec![
        "#",
        "include",
        "define",
        "if",
        " ",
        "\t",
        "\n",
        "\r",
        "\\\n",
        "\\ \r\n",
        "\"",
        "<",
        ">",
        "__has_include",
        "__has_embed",
        "(",
        ")",
        "/*",
        "*/",
        "//",
        "'",
        ".incbin",
        ".include",
        "R\"(",
        ")\"",
        " cc1 ",
        "-quiet",
        "-march=",
        "-cc1",
        "-target-feature",
        "??=",
        "??/",
        "%:",
        "dependency",
        "GCC ",
        "line",
        "7",
        "x.h",
        "defined",
        ":",
        "\\",
        "$$",
        "$",
        "# ",
        "End of search list.",
        "#include <...> search starts here:",
    ];
    let piece = prop_oneof![
        8 => prop::sample::select(pieces).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_command_line_is_classified(argv in command_line(), is_clang in any::<bool>()) {
        let family = if is_clang { CompilerFamily::Clang } else { CompilerFamily::Gcc };
        if let Classification::Compile(command) = classify(family, &argv, &[]) {
            command.dependency_run(b"list");
            command.preprocessing_run();
            command.probe();
            command.may_name_side_file(b"a.su");
            let words = Native::Words {
                cpu: Bytes::from(*b"x"),
                tune: None,
                features: vec![Bytes::from(*b"+avx")],
            };
            for native in [words, Native::Specs(Bytes::new())] {
                prop_assert!(!command.resolved(&native).is_native() || matches!(native, Native::Specs(_)));
            }
            prop_assert_eq!(command.words(), argv.clone());
            let remote = command.remote(&argv, b"report", None);
            prop_assert!(remote.argv.ends_with(&argv[1..]));
            prop_assert!(!command.output.is_empty());
        }
    }

    #[test]
    fn any_text_is_scanned(text in text()) {
        tokens::scan(&text);
        for language in [Language::C, Language::AssemblerWithCpp] {
            assembled::reads(&text, language);
        }
        for family in [CompilerFamily::Gcc, CompilerFamily::Clang] {
            native::resolve(family, &text);
        }
        depfile::prerequisites(&text).ok();
        search::SearchPath::parse(&text).ok();
        same_commands(&text, &text);
        let files = Files::from([(Bytes::from(*b"x"), Some(Bytes::from(text)))]);
        expand(&[Bytes::from(*b"@x")], &files).ok();
    }

    /// Whatever stands around it, a directive at the start of a line is seen.
    #[test]
    fn no_text_before_it_hides_a_directive(before in text(), name in "[a-z]{1,8}\\.h") {
        let directive = format!("\n#include <{name}>\n");
        let scan = tokens::scan(&[&before, directive.as_bytes()].concat());
        let is_continued = before.iter().rev().find(|byte| !b" \t\x0b\x0c".contains(byte)).is_some_and(|&byte| byte == b'\\' || byte == b'/');
        prop_assert!(is_continued || scan.included.iter().any(|found| *found.name == *name.as_bytes()));
    }

    /// A list that a compiler would write reads back.
    #[test]
    fn prerequisites_read_back(names in prop::collection::vec("[a-z$# \\\\:]{0,6}[a-z]", 1..6)) {
        let mut list = String::from("x:");
        for name in &names {
            list.push_str(" \\\n ");
            list.push_str(&quoted(name));
        }
        let names: Vec<Bytes> = names.iter().map(|name| Bytes::from(name.as_bytes())).collect();
        prop_assert_eq!(depfile::prerequisites(list.as_bytes()), Ok(names));
    }
}

/// As gcc quotes a name for make.
fn quoted(name: &str) -> String {
    let mut quoted = String::new();
    for char in name.chars() {
        match char {
            ' ' => {
                let n_backslashes = quoted.chars().rev().take_while(|&char| char == '\\').count();
                quoted.extend(std::iter::repeat_n('\\', n_backslashes + 1));
            }
            '#' => quoted.push('\\'),
            '$' => quoted.push('$'),
            _ => {}
        }
        quoted.push(char);
    }
    quoted
}

/// Options of languages and uses that farcc leaves to the machine they are on; being unknown, they keep a unit there.
const OTHERS_BUSINESS: &[&str] = &[
    "-b",
    "-cl-",
    "-fobjc",
    "-fno-objc",
    "-gen-",
    "--gpu",
    "--hip",
    "--rocm",
    "--ptxas",
    "-nocuda",
    "-nogpu",
    "--no-cuda",
    "--no-gpu",
    "-fcuda",
    "-fgpu",
    "-fhip",
    "-fopenacc",
    "--opencl",
    "-via-file-asm",
    "--emit-static-lib",
    "--analyzer-",
    "--config",
    "--amdgpu",
    "--libomptarget",
    "--system-header-prefix",
    "--no-system-header-prefix",
    "--migrate",
    "--no-offload",
    "-Xcuda",
    "-Xopenmp",
    "-arcmt",
    "-cuid",
    "-fuse-cuid",
    "-fno-cuda",
    "-fno-gpu",
    "-fno-hip",
    "-fno-sycl",
    "-fopenmp-new-driver",
    "-fopenmp-target",
    "-frequire-return-statement",
    "-fsycl",
    "-nohip",
    "-rewrite",
    "-sycl",
];

#[track_caller]
fn check_listed(family: CompilerFamily, text: &str) {
    let listed: std::collections::BTreeSet<String> = text.lines().filter_map(listed_option).collect();
    assert!(listed.len() > 500, "only {} options", listed.len());
    let is_unknown = |word: &&String| {
        options::find(family, word.as_bytes()).is_none() && !OTHERS_BUSINESS.iter().any(|name| word.starts_with(name))
    };
    let unknown: Vec<_> = listed.iter().filter(is_unknown).map(String::as_str).collect();
    assert!(unknown.is_empty(), "{} of {} are in no row: {}", unknown.len(), listed.len(), unknown.join(" "));
}

/// The option that a line of a compiler's help is about, with some value where it wants one.
fn listed_option(line: &str) -> Option<String> {
    let word = line.strip_prefix("  ")?.split_ascii_whitespace().next().filter(|word| word.starts_with('-'))?;
    let word = word.trim_end_matches([',', '.']);
    let name = &word[..word.find(['<', '[']).unwrap_or(word.len())];
    let wants_value = name.ends_with(['=', '-']) || name.len() < word.len();
    if name == "-gsplit-dwarf=" {
        return Some("-gsplit-dwarf=split".to_owned());
    }
    Some(if wants_value { format!("{name}1") } else { name.to_owned() })
}

fn help(program: &str, words: &[&str]) -> String {
    let output = std::process::Command::new(program).args(words).env("LC_ALL", "C").output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn every_option_that_gcc_lists_is_in_the_table() {
    let classes = ["common", "c", "c++", "optimizers", "warnings", "params", "target"];
    let mut text: String = classes.iter().map(|class| help("gcc", &["-Q", &format!("--help={class}")])).collect();
    text += &help("gcc", &["--help=common,undocumented"]);
    check_listed(CompilerFamily::Gcc, &text);
}

/// What the driver itself looks at.
#[test]
fn every_option_in_gccs_specification_is_in_the_table() {
    let specs = help("gcc", &["-dumpspecs"]);
    let conditions = specs.split("%{").skip(1).flat_map(|text| {
        let end = text.find(['}', ':', ';']).unwrap_or(0);
        text[..end].split(['|', '&', '!']).map(str::trim).filter(|name| !name.is_empty())
    });
    let is_plain = |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_=+*".contains(&byte));
    let names: std::collections::BTreeSet<String> = conditions
        .filter(is_plain)
        // `%{f*}` stands for all that begin so.
        .filter(|name| name.len() > 2 || !name.ends_with('*'))
        .map(str::to_owned)
        .collect();
    assert!(names.len() > 50, "{names:?}");
    let is_known = |name: &&String| {
        let name = name.trim_end_matches('*');
        let spellings = [format!("-{name}"), format!("-{name}1"), format!("-{name}=1")];
        spellings.iter().any(|word| options::find(CompilerFamily::Gcc, word.as_bytes()).is_some())
    };
    let unknown: Vec<_> = names.iter().filter(|name| !is_known(name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn every_option_that_clang_lists_is_in_the_table() {
    check_listed(CompilerFamily::Clang, &help("clang", &["--help-hidden"]));
}
