//! What a user sees: objects, messages and reasons.

use crate::farm::{BUILDERS, CLIENT, ClientVariable, farm};
use crate::redis::{self, Part};

#[test]
fn redis_is_compiled_by_builders_and_comes_out_as_from_plain_gcc() {
    let farm = farm();
    let expected = redis::reference(Part::Whole);
    // As the configuration says; the variable that overrides it agrees.
    let _slots = ClientVariable::set(&farm, "FARCC_LOCAL_SLOTS", "0");
    let before = farm.stats();
    let (objects, wall) = redis::build(Part::Whole, "farcc gcc", "");
    let after = farm.stats();
    redis::assert_same(expected, &objects);
    let n = |counter| after.count(counter) - before.count(counter);
    println!(
        "redis: {} objects in {:.1} s: {} units remote, {} local",
        objects.len(),
        wall.as_secs_f64(),
        n("remote"),
        n("local")
    );
    // The configure script of jemalloc asks the compiler about things that do not compile; those are compiled here to say so.
    assert_eq!(n("fallbacks"), after.reason("remote-error") - before.reason("remote-error"), "{after:?}");
    for builder in BUILDERS {
        assert!(after.builder(builder) > before.builder(builder), "{builder:?} got nothing: {after:?}");
    }
    // One object is made by g++, which this build calls without farcc.
    assert!(n("remote") + 1 >= objects.len() as u64, "{after:?}");
}

#[test]
fn local_slots_are_used_beside_the_builders() {
    let farm = farm();
    let expected = redis::reference(Part::Server);
    let _slots = ClientVariable::set(&farm, "FARCC_LOCAL_SLOTS", "1");
    let before = farm.stats();
    let (objects, _) = redis::build(Part::Server, "farcc gcc", "");
    let after = farm.stats();
    redis::assert_same(expected, &objects);
    assert!(after.count("remote") > before.count("remote"), "{after:?}");
    assert!(after.reason("local-slot") > before.reason("local-slot"), "{after:?}");
    assert_eq!(after.count("fallbacks"), before.count("fallbacks"), "{after:?}");
    for full in ["no-builder", "no-scheduler", "builder-refused"] {
        assert_eq!(after.reason(full), before.reason(full), "a full farm is a queue: {after:?}");
    }
}

#[test]
fn syntax_error_is_reported_once_and_as_by_plain_gcc() {
    let _farm = farm();
    CLIENT.write("broken.c", "int f(void) { return 1 }\nint g(void) { undeclared(); }\n");
    let plain = CLIENT.dev("cd && gcc -Wall -c broken.c");
    let ours = CLIENT.dev("cd && farcc gcc -Wall -c broken.c");
    assert_eq!((plain.status, &plain.stdout, &plain.stderr), (ours.status, &ours.stdout, &ours.stderr));
    assert_eq!(plain.status, Some(1));
    assert!(CLIENT.dev("test ! -e ~/broken.o").is_ok());
}

#[test]
fn warnings_come_back_from_the_builder_unchanged() {
    let farm = farm();
    CLIENT.write(
        "warned.c",
        "#include <stdio.h>\nint f(unsigned n) { int unused; return n < 0 ? printf(\"%s\", n) : 1; }\n",
    );
    let before = farm.stats();
    let plain = CLIENT.dev("cd && gcc -Wall -Wextra -g -c warned.c -o warned.o && sha256sum warned.o");
    let ours = CLIENT.dev("cd && farcc gcc -Wall -Wextra -g -c warned.c -o warned.o && sha256sum warned.o");
    assert_eq!((plain.status, &plain.stdout, &plain.stderr), (ours.status, &ours.stdout, &ours.stderr));
    assert!(plain.stderr.contains("unused variable"), "{plain:?}");
    assert_eq!(farm.stats().count("remote"), before.count("remote") + 1);
}

#[test]
fn embedded_file_travels_unless_an_assembler_macro_names_it() {
    let farm = farm();
    CLIENT.write("blob", "content");
    CLIENT.write("literal.c", "__asm__(\".data\\nblob: .incbin \\\"blob\\\"\\n\");\n");
    CLIENT.write(
        "embeds.c",
        "__asm__(\".macro embed name\\n.incbin \\\"\\\\name\\\"\\n.endm\\n.data\\nembed blob\\n\");\n",
    );
    let compare = |name: &str| {
        CLIENT
            .dev(&format!(
                "cd && gcc -c {name}.c -o plain.o && farcc gcc -c {name}.c -o farcc.o && cmp plain.o farcc.o"
            ))
            .ok();
    };
    let before = farm.stats();
    compare("literal");
    let after = farm.stats();
    assert_eq!(after.count("remote"), before.count("remote") + 1, "{after:?}");
    compare("embeds");
    let after = farm.stats();
    assert_eq!(after.reason("incbin"), before.reason("incbin") + 1, "{after:?}");
    assert_eq!(
        after.count("fallbacks"),
        before.count("fallbacks"),
        "known beforehand, so nothing was tried: {after:?}"
    );
    let why = CLIENT.dev("cd && farccctl why embeds.c").ok();
    assert!(why.contains("incbin"), "{why}");
}

/// The first compiler that has `#embed` is the clang of this system, so no other ring can try it.
#[test]
fn what_a_directive_embeds_travels() {
    let farm = farm();
    let source = "const unsigned char data[] = {\n#if __has_embed(\"data.bin\") && !__has_embed(\"absent.bin\")\n#embed \"data.bin\"\n#endif\n};\n";
    CLIENT.write("embed.c", source);
    let both = "cd && for cc in clang 'farcc clang'; do
        $cc -std=c23 -MD -MF list -c embed.c -o embed.o && sha256sum embed.o list; done | sort -u | wc -l";
    let before = farm.stats();
    for content in ["head -c 5000 /bin/true >data.bin", "tr '\\0' '\\1' <data.bin >other.bin && mv other.bin data.bin"]
    {
        CLIENT.dev(&format!("cd && {content}")).ok();
        assert_eq!(CLIENT.dev(both).ok(), "2", "one object and one list");
        assert!(CLIENT.dev("cd && nm -S embed.o").ok().contains("1388"), "5000 bytes are in it");
    }
    let after = farm.stats();
    assert_eq!(after.count("remote"), before.count("remote") + 2, "{after:?}");
}
