//! Names of `-f` options that change code, language or messages, and neither read nor write a file.
//!
//! A list of names and not a prefix: among the `-f` options are many that name inputs (`-fprofile-use=`), write side files
//! (`-fdump-…`, `-fstack-usage`) or load code (`-fplugin=`), and new ones appear with each release. Both compilers share the
//! list, since one that does not know an option says so in the same words everywhere.

use std::collections::BTreeSet;
use std::sync::LazyLock;

/// True for the rest of a word after `-f` that is known to be harmless.
pub(super) fn is_known(rest: &[u8]) -> bool {
    let name = match rest.iter().position(|&byte| byte == b'=') {
        Some(equals) => &rest[..=equals],
        None => rest,
    };
    let Ok(name) = std::str::from_utf8(name) else { return false };
    NAMES.contains(name) || name.strip_prefix("no-").is_some_and(|positive| NAMES.contains(positive))
}

static NAMES: LazyLock<BTreeSet<&'static str>> =
    LazyLock::new(|| [PLAIN, VALUED, NEGATIVE].iter().flat_map(|text| text.split_ascii_whitespace()).collect());

/// `-fNAME` and `-fno-NAME`.
const PLAIN: &str = "
    PIC PIE pic pie plt access-control addrsig aggressive-loop-optimizations align-functions align-jumps align-labels align-loops
    aligned-allocation aligned-new all-virtual allocation-dce allow-parameterless-variadic-functions
    allow-store-data-races allow-unsupported altivec analyzer analyzer-call-summaries analyzer-feasibility
    analyzer-fine-grained analyzer-show-duplicate-count analyzer-state-merge analyzer-state-purge
    analyzer-suppress-followups analyzer-transitivity analyzer-undo-inlining analyzer-verbose-edges
    analyzer-verbose-state-changes ansi-escape-codes approx-func asm asm-blocks associative-math assume-sane-operator-new
    assume-unique-vtables assumptions async-exceptions asynchronous-unwind-tables auto-inc-dec autolink backtrace bit-tests bitint
    blocks borland-extensions bounds-check bounds-safety branch-count-reg branch-target-load-optimize
    branch-target-load-optimize2 btr-bb-exclusive builtin c++-static-destructors caller-saves canonical-system-headers
    caret-diagnostics cf-protection char8_t check-data-deps check-new checking code-hoisting coarray color-diagnostics
    combine-stack-adjustments common compare-elim complete-member-pointers concepts concepts-diagnostics concepts-ts cond-mismatch
    conserve-space conserve-stack constant-cfstrings constexpr-fp-except contract-strict-declarations contracts
    convergent-functions coroutines coroutines-ts coverage-mapping cprop-registers crash-diagnostics crossjumping cse-follow-jumps
    cse-skip-blocks cx-fortran-rules cx-limited-range cxx-exceptions data-sections dce debug-info-for-profiling
    debug-macro debug-ranges-base-address debug-types-section declone-ctor-dtor declspec deduce-init-list
    default-inline defer-pop define-target-os-macros delayed-branch delayed-template-parsing delete-dead-exceptions
    delete-null-pointer-checks devirtualize devirtualize-at-ltrans devirtualize-speculatively
    diagnostics-absolute-paths diagnostics-fixit-info diagnostics-generate-patch diagnostics-parseable-fixits
    diagnostics-plain-output diagnostics-print-source-range-info diagnostics-show-caret diagnostics-show-cwe
    diagnostics-show-hotness diagnostics-show-labels diagnostics-show-line-numbers
    diagnostics-show-note-include-stack diagnostics-show-option diagnostics-show-path-depths
    diagnostics-show-rules diagnostics-show-template-tree diagnostics-show-highlight-colors
    diagnostics-text-art-charset digraphs direct-access-external-data discard-value-names dollar-ok
    dollars-in-identifiers double-square-bracket-attributes dse dwarf-directory-asm dwarf-exceptions dwarf2-cfi-asm
    early-inlining elide-constructors elide-type eliminate-dwarf2-dups eliminate-unused-debug-symbols
   eliminate-unused-debug-types emit-all-decls emit-class-debug-always emit-compact-unwind-non-canonical
    emit-dwarf-unwind emit-struct-debug-baseonly emit-struct-debug-reduced emulated-tls enable-matrix enforce-eh-specs
    enum-int-equiv escaping-block-tail-calls exceptions exec-stack expensive-optimizations
    experimental-isel experimental-new-constant-interpreter experimental-new-pass-manager
    experimental-relative-c++-abi-vtables experimental-strict-floating-point ext-numeric-literals extend-variable-liveness
    extern-tls-init external-blas fast-math fat-lto-objects fine-grained-bitfield-accesses finite-loops finite-math-only
    fixed-point float-store fold-mem-offsets fold-simple-inlines for-scope force-addr force-check-cxx20-modules-input-files
    force-dwarf-frame force-emit-vtables
    force-enable-int128 forward-propagate fp-int-builtin-inexact freestanding friend-injection function-cse
    function-sections gcse gcse-after-reload gcse-las gcse-lm gcse-sm global-isel gnu-inline-asm gnu-keywords gnu-tm
    gnu-unique gnu89-inline graphite graphite-identity guess-branch-probability handle-exceptions hardcfr-check-exceptions
    hardcfr-check-noreturn-calls hardcfr-check-returning-calls hardcfr-skip-leaf harden-compares
    harden-conditional-branches harden-control-flow-redundancy hardened hoist-adjacent-loads honor-infinities honor-nans
    hosted huge-objects ident if-conversion if-conversion2 ignore-exceptions implement-inlines implicit-constexpr
    implicit-inline-templates implicit-templates incremental-extensions indirect-inlining inhibit-size-directive init-local-zero
    init-priority inline inline-atomics inline-functions inline-functions-called-once inline-hint-functions
    inline-small-functions inline-stringops instrument-function-entry-bare instrument-functions
    instrument-functions-after-inlining instrument-functions-once integrated-as integrated-cc1 ipa-bit-cp ipa-cp
    ipa-cp-alignment ipa-cp-clone ipa-icf ipa-icf-functions ipa-icf-variables ipa-modref ipa-profile ipa-pta
    ipa-pure-const ipa-ra ipa-reference ipa-reference-addressable ipa-reorder-for-locality ipa-sra ipa-stack-alignment
    ipa-strict-aliasing ipa-vrp
    ira-hoist-pressure ira-loop-pressure ira-share-save-slots ira-share-spill-slots isolate-erroneous-paths-attribute
    isolate-erroneous-paths-dereference ivopts jump-tables keep-gc-roots-live keep-inline-functions
    keep-persistent-storage-variables keep-static-consts keep-static-functions keep-system-includes late-combine-instructions
    lax-vector-conversions leading-underscore legacy-pass-manager lifetime-dse limit-function-alignment live-patching
    live-range-shrinkage loop-block loop-flatten loop-interchange loop-nest-optimize loop-optimize loop-parallelize-all
    loop-strip-mine loop-unroll-and-jam lra-remat lto lto-odr-type-merging malloc-dce math-errno memory-profile
    merge-all-constants merge-constants merge-debug-strings min-function-alignment modulo-sched
    modulo-sched-allow-regmoves move-loop-invariants move-loop-stores ms-compatibility ms-extensions ms-hotpatch
    ms-volatile new-infallible new-inheriting-ctors new-ttp-matching
    non-call-exceptions nonansi-builtins
    nonnull-objects nothrow-opt omit-frame-pointer openacc openmp openmp-allow-simd openmp-cuda-mode openmp-extensions
    openmp-implicit-rpath openmp-optimistic-collapse openmp-simd openmp-target-simd-clone
    openmp-use-tls operator-names optimize-crc optimize-register-move optimize-sibling-calls optimize-strlen optional-diags
    order-file-instrumentation pack-struct partial-inlining pascal-strings pcc-struct-return peel-loops
    peephole peephole2 permissive plan9-extensions pointer-tbaa predictive-commoning
    prefetch-loop-arrays pretty-templates printf-return-value profile-abs-path profile-arcs profile-correction profile-generate
    profile-instr-generate cs-profile-generate profile-reorder-functions profile-sample-accurate
    profile-partial-training profile-values protect-parens
    pseudo-probe-for-profiling random-seed range-for-ext-temps raw-string-literals reciprocal-math ree
    register-global-dtors-with-atexit reg-struct-return regmove relaxed-template-template-args rename-registers reorder-blocks
    reorder-blocks-and-partition reorder-functions rerun-cse-after-loop rerun-loop-opt
    reschedule-modulo-scheduled-loops ropi rounding-math rtti rtti-data rwpi
    sanitize-address-globals-dead-stripping sanitize-address-outline-instrumentation
    sanitize-address-poison-custom-array-cookie sanitize-address-use-after-return sanitize-address-use-after-scope
    sanitize-address-use-odr-indicator sanitize-cfi-canonical-jump-tables sanitize-cfi-cross-dso
    sanitize-cfi-icall-experimental-normalize-integers sanitize-cfi-icall-generalize-pointers
    sanitize-hwaddress-experimental-aliasing sanitize-link-c++-runtime
    sanitize-link-runtime sanitize-memory-param-retval sanitize-memory-track-origins sanitize-memory-use-after-dtor
    sanitize-merge sanitize-minimal-runtime sanitize-recover sanitize-stable-abi sanitize-thread-atomics
    sanitize-thread-func-entry-exit sanitize-thread-memory-access sanitize-trap sanitize-undefined-trap-on-error
    sched-critical-path-heuristic sched-dep-count-heuristic sched-group-heuristic sched-interblock
    sched-last-insn-heuristic sched-pressure sched-rank-heuristic sched-spec sched-spec-insn-heuristic sched-spec-load
    sched-spec-load-dangerous sched-stalled-insns sched-stalled-insns-dep sched2-use-superblocks schedule-fusion
    schedule-insns schedule-insns2 section-anchors see seh-exceptions sel-sched-pipelining
    sel-sched-pipelining-outer-loops sel-sched-reschedule-pipelined selective-scheduling selective-scheduling2
    semantic-interposition separate-named-sections short-enums short-wchar show-column show-source-location
    shrink-wrap shrink-wrap-separate signaling-math signaling-nans signed-bitfields signed-char signed-zeros
    single-precision-constant sized-deallocation sjlj-exceptions skip-odr-check-in-gmf slp-vectorize spell-checking
    speculatively-call-stored-functions split-dwarf-inlining split-ivs-in-unroller split-loops split-lto-unit split-machine-functions
    split-paths split-stack split-wide-types split-wide-types-early ssa-backprop ssa-phiopt stack-check
    stack-clash-protection stack-limit stack-protector stack-protector-all stack-protector-explicit
    stack-protector-strong stack-size-section standalone-debug stdarg-opt store-merging strength-reduce strict-aliasing
    strict-enums strict-flex-arrays strict-float-cast-overflow strict-overflow strict-return strict-volatile-bitfields
    strict-vtable-pointers strong-eval-order struct-path-tbaa sync-libcalls temp-file thread-jumps
    threadsafe-statics tls-model toplevel-reorder tracer track-macro-expansion trampolines trapping-math trapv
    tree-bit-ccp tree-builtin-call-dce tree-ccp tree-ch tree-coalesce-vars tree-copy-prop tree-copyrename tree-cselim
    tree-dce tree-dominator-opts tree-dse tree-forwprop tree-fre tree-loop-distribute-patterns tree-loop-distribution
    tree-loop-if-convert tree-loop-if-convert-stores tree-loop-im tree-loop-ivcanon tree-loop-linear tree-loop-optimize
    tree-loop-vectorize tree-lrs tree-partial-pre tree-phiprop tree-pre tree-pta tree-reassoc tree-scev-cprop tree-sink
    tree-slp-vectorize tree-slsr tree-sra tree-store-ccp tree-switch-conversion tree-tail-merge tree-ter
    tree-vect-loop-version tree-vectorize tree-vrp trigraphs unconstrained-commons unified-lto unique-basic-block-section-names
    unique-internal-linkage-names unique-section-names unit-at-a-time unreachable-traps unroll-all-loops
    unroll-completely-grow-size unroll-loops unsafe-loop-optimizations unsafe-math-optimizations unsigned-bitfields
    unsigned-char unswitch-loops unwind-tables use-cxa-atexit use-cxa-get-exception-ptr use-init-array use-line-directives
    use-linker-plugin var-tracking var-tracking-assignments var-tracking-uninit variable-expansion-in-unroller
    vect-cost-model vectorize version-loops-for-strides virtual-function-elimination
    visibility-from-dllstorageclass visibility-global-new-delete-hidden visibility-inlines-hidden
    visibility-inlines-hidden-static-local-var visibility-ms-compat vpt wasm-exceptions weak web whole-program
    whole-program-vtables working-directory wrapv wrapv-pointer writable-strings xl-pragma-pack xray-instrument
    zero-call-used-regs zero-initialized-in-bss zvector
    aapcs-bitfield-load aapcs-bitfield-width allow-editor-placeholders alt-external-templates apple-kext
    apple-link-rtlib apple-pragma-pack application-extension argument-alias argument-noalias argument-noalias-anything
    argument-noalias-global building-libgcc check-pointer-bounds chkp-check-incomplete-type chkp-check-read
    chkp-check-write chkp-first-field-has-own-bounds chkp-flexible-struct-trailing-arrays chkp-instrument-calls
    chkp-instrument-marked-only chkp-narrow-bounds chkp-narrow-to-innermost-array chkp-optimize chkp-store-bounds
    chkp-treat-zero-dynamic-size-as-infinite chkp-use-fast-string-functions chkp-use-nochk-string-functions
    chkp-use-static-bounds chkp-use-static-const-bounds chkp-use-wrappers chkp-zero-input-bounds-for-main cilkplus
    extended-identifiers external-templates gimple gnu-runtime guiding-decls honor-std ipa-matrix-reorg
    ipa-struct-reorg labels-ok large-source-files mudflap mudflapir mudflapth new-abi openmp-enable-irbuilder
    preserve-as-comments profile profile-info-section reroll-loops rtlib-add-rpath sched2-use-traces squangle
    strict-prototype this-is-variable tree-coalesce-inlined-vars tree-salias tree-store-copy-prop
    validate-ast-input-files-content var-tracking-assignments-toggle vtable-gc vtable-thunks
    xray-always-emit-customevents xray-always-emit-typedevents xray-function-index xray-ignore-loops xray-link-deps
    xref zee
";

/// `-fNAME=VALUE`, where VALUE names no file that the compiler opens.
const VALUED: &str = "
    abi-compat-version= abi-version= align-functions= align-jumps= align-labels= align-loops= aligned-new=
    analyzer-checker= analyzer-verbosity= asan-shadow-offset= assumption-semantic=
    binutils-version= bracket-depth= cf-branch-label-scheme= cf-protection= cf-runtime-abi= clang-abi-compat=
    complex-arithmetic= concepts-diagnostics-depth= constant-string-class= constexpr-backtrace-limit= constexpr-cache-depth=
    constexpr-depth= constexpr-loop-limit= constexpr-ops-limit= constexpr-steps= contract-assumption-mode=
    contract-build-level= contract-continuation-mode= contract-mode= contract-role= contract-semantic=
    coverage-compilation-dir= coverage-prefix-map= crash-diagnostics-dir= crash-diagnostics= debug-compilation-dir= debug-default-version=
    debug-prefix-map= default-calling-conv= denormal-fp-math= diagnostics-color= diagnostics-column-origin= diagnostics-column-unit=
    diagnostics-escape-format= diagnostics-hotness-threshold= diagnostics-minimum-margin-width=
    diagnostics-misexpect-tolerance= diagnostics-path-format= diagnostics-show-category= diagnostics-show-location=
    diagnostics-text-art-charset= diagnostics-urls= emit-dwarf-unwind= emit-struct-debug-detailed= error-limit=
    excess-precision= extend-arguments= file-compilation-dir= file-prefix-map=
    fp-contract= fp-eval-method= fp-exception-behavior= fp-model= gnat-encodings= gnuc-version=
    hardcfr-max-blocks= hardcfr-max-inline-blocks= inline-limit= inline-stringops= instrument-functions-exclude-file-list=
    instrument-functions-exclude-function-list= ira-algorithm= ira-region= lax-vector-conversions= lifetime-dse=
    limited-precision= live-patching= lto-compression-level= lto-jobs= lto-partition= lto= macro-backtrace-limit=
    macro-prefix-map= max-errors= max-include-depth= max-tokens= max-type-align= message-length= min-function-alignment=
    ms-compatibility-version= msc-version= new-alignment= offload-abi= openmp-version= openmp= operator-arrow-depth= pack-struct=
    patchable-function-entry= permitted-flt-eval-methods= profile-prefix-map= profile-update= profile-reproducible=
    random-seed= randomize-layout-seed= reorder-blocks-algorithm= sanitize-address-destructor=
    sanitize-address-field-padding= sanitize-address-use-after-return= sanitize-coverage= sanitize-hwaddress-abi=
    sanitize-memory-track-origins= sanitize-merge= sanitize-recover= sanitize-sections= sanitize-trap=
    sanitize-undefined-strip-path-components= sanitize= sched-stalled-insns-dep= sched-stalled-insns=
    show-overloads= simd-cost-model= spell-checking-limit= sso-struct= stack-check= stack-limit-register= stack-limit-symbol= stack-reuse=
    strict-flex-arrays= strong-eval-order= strub= swift-async-fp= symbol-partition= tabstop= template-backtrace-limit=
    template-depth= tls-model= track-macro-expansion= trap-function= trapv-handler= tree-parallelize-loops=
    tree-vectorizer-verbose= trivial-auto-var-init-max-size= trivial-auto-var-init-stop-after= trivial-auto-var-init=
    veclib= vect-cost-model= visibility-dllexport= visibility-externs-dllimport= visibility=
    xray-instruction-threshold= xray-modes= zero-call-used-regs=
    altivec-src-compat= c++-abi= checking= comment-block-commands= cs-profile-generate= fuchsia-api-level=
    memory-profile= profile-exclude-files= profile-filter-files= profile-info-section= profile-prefix-path=
    visibility-externs-nodllstorageclass= visibility-nodllstorageclass= vtable-verify= xray-function-groups=
    xray-instrumentation-bundle= xray-selected-function-group=
";

/// Options that keep a unit local when on, and do no harm as `-fno-NAME`.
const NEGATIVE: &str = "
    no-auto-profile no-branch-probabilities no-callgraph-info no-implicit-module-maps
    no-implicit-modules no-modules no-modules-ts no-objc-arc no-objc-exceptions no-pch-timestamp no-profile-instr-use
    no-profile-sample-use no-profile-use no-record-command-line no-record-gcc-switches no-save-optimization-record
    no-stack-usage no-test-coverage no-verbose-asm
    no-cxx-modules no-offload-lto no-pch-codegen no-pch-debuginfo no-sanitize-ignorelist no-sanitize-stats
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_whole_with_and_without_no() {
        for known in
            ["PIC", "no-PIC", "strict-aliasing", "sanitize=address", "no-sanitize=all", "no-modules", "lto", "lto=auto"]
        {
            assert!(is_known(known.as_bytes()), "{known}");
        }
        for unknown in
            ["modules", "PI", "PICX", "no-no-PIC", "strict-aliasing=1", "plugin=x.so", "profile-use", "", "no-"]
        {
            assert!(!is_known(unknown.as_bytes()), "{unknown}");
        }
        assert!(!is_known(b"\xff"));
    }

    #[test]
    fn no_name_is_listed_twice() {
        let words = || [PLAIN, VALUED, NEGATIVE].into_iter().flat_map(str::split_ascii_whitespace);
        let mut seen = BTreeSet::new();
        assert_eq!(words().filter(|word| !seen.insert(*word)).collect::<Vec<_>>(), Vec::<&str>::new());
    }
}
