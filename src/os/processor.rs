//! What this machine's processor can do, by its own word.

use crate::model::toolchain::IsaLevel;

/// The generation of its instruction set, as compilers and loaders count them: each has all of those before.
pub fn level() -> IsaLevel {
    #[cfg(target_arch = "x86_64")]
    return x86_64_level();
    #[cfg(not(target_arch = "x86_64"))]
    IsaLevel::default()
}

/// By the x86-64 psABI. Left out are instructions that no processor lacks which has the others of its level (`LAHF`, `OSXSAVE`).
#[cfg(target_arch = "x86_64")]
fn x86_64_level() -> IsaLevel {
    use std::arch::is_x86_feature_detected as has;
    let levels = [
        has!("cmpxchg16b") && has!("popcnt") && has!("ssse3") && has!("sse4.1") && has!("sse4.2"),
        has!("avx2") && has!("bmi1") && has!("bmi2") && has!("f16c") && has!("fma") && has!("lzcnt") && has!("movbe"),
        has!("avx512f") && has!("avx512bw") && has!("avx512cd") && has!("avx512dq") && has!("avx512vl"),
    ];
    IsaLevel(1 + levels.iter().take_while(|has| **has).count() as u8)
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    /// glibc's loader says of each level whether it searches its directory.
    #[test]
    fn the_loader_agrees() {
        let loader = crate::os::process::Command::new("/lib64/ld-linux-x86-64.so.2").args(["--help"]).run().unwrap();
        let said = String::from_utf8_lossy(&loader.stdout).into_owned();
        let is_supported = |level: u8| {
            let name = format!("x86-64-v{level} ");
            said.lines().any(|line| line.trim_start().starts_with(&name) && line.contains("supported"))
        };
        let highest = (2..=4).take_while(|level| is_supported(*level)).last().unwrap_or(1);
        assert_eq!(level(), IsaLevel(highest), "{said}");
    }
}
