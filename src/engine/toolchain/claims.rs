//! Who uploads a toolchain when several want it at once: the first; the others wait for how it ends.
//!
//! A claim ends with its claimant's connection, so a dead uploader blocks nobody: the next in line uploads.

use std::collections::{BTreeMap, VecDeque};

use crate::model::toolchain::ToolchainId;

/// Claims of all toolchains; `Who` names a claimant uniquely as long as it claims.
#[derive(Debug)]
pub struct Claims<Who> {
    uploads: BTreeMap<ToolchainId, Upload<Who>>,
}

#[derive(Debug)]
struct Upload<Who> {
    uploader: Who,
    waiting: VecDeque<Who>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    Ready,
    /// Yours to upload.
    Upload,
    /// Someone else uploads it; the answer comes when that has ended.
    Wait,
}

/// Whom to answer now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer<Who> {
    pub who: Who,
    pub claim: Claim,
}

impl<Who: Copy + Eq> Claims<Who> {
    pub fn new() -> Self {
        Self { uploads: BTreeMap::new() }
    }

    /// `present` says whether the store has the toolchain. Claiming again what one uploads or waits for changes nothing.
    pub fn claim(&mut self, toolchain: ToolchainId, who: Who, present: bool) -> Claim {
        if present {
            return Claim::Ready;
        }
        match self.uploads.get_mut(&toolchain) {
            None => {
                self.uploads.insert(toolchain, Upload { uploader: who, waiting: VecDeque::new() });
                Claim::Upload
            }
            Some(upload) if upload.uploader == who => Claim::Upload,
            Some(upload) => {
                if !upload.waiting.contains(&who) {
                    upload.waiting.push_back(who);
                }
                Claim::Wait
            }
        }
    }

    /// The upload by `who` has ended. Success answers everyone who waits, failure the next in line.
    ///
    /// Nobody is answered where `who` was not the uploader: an upload that nobody asked for.
    pub fn ended(&mut self, toolchain: ToolchainId, who: Who, outcome: UploadOutcome) -> Vec<Answer<Who>> {
        let Some(mut upload) = self.uploads.remove(&toolchain) else { return Vec::new() };
        if upload.uploader != who {
            self.uploads.insert(toolchain, upload);
            return Vec::new();
        }
        if outcome == UploadOutcome::Unpacked {
            return upload.waiting.into_iter().map(|who| Answer { who, claim: Claim::Ready }).collect();
        }
        let Some(next) = upload.waiting.pop_front() else { return Vec::new() };
        self.uploads.insert(toolchain, Upload { uploader: next, waiting: upload.waiting });
        vec![Answer { who: next, claim: Claim::Upload }]
    }

    /// `who` is gone: what it uploaded has failed, what it waited for it no longer waits for.
    pub fn gone(&mut self, who: Who) -> Vec<(ToolchainId, Answer<Who>)> {
        let mut uploading = Vec::new();
        for (toolchain, upload) in &mut self.uploads {
            upload.waiting.retain(|waiting| *waiting != who);
            if upload.uploader == who {
                uploading.push(*toolchain);
            }
        }
        let mut answers = Vec::new();
        for toolchain in uploading {
            let next = self.ended(toolchain, who, UploadOutcome::Failed);
            answers.extend(next.into_iter().map(|answer| (toolchain, answer)));
        }
        answers
    }
}

impl<Who: Copy + Eq> Default for Claims<Who> {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UploadOutcome {
    Unpacked,
    Failed,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::digest::Digest;

    fn id(name: &str) -> ToolchainId {
        ToolchainId(Digest::of(name.as_bytes()))
    }

    #[test]
    fn one_uploads_and_the_others_wait() {
        let mut claims = Claims::new();
        assert_eq!(claims.claim(id("gcc"), 1, false), Claim::Upload);
        assert_eq!(claims.claim(id("gcc"), 2, false), Claim::Wait);
        assert_eq!(claims.claim(id("gcc"), 2, false), Claim::Wait);
        assert_eq!(claims.claim(id("gcc"), 3, false), Claim::Wait);
        assert_eq!(claims.claim(id("clang"), 3, false), Claim::Upload);
        let answers = claims.ended(id("gcc"), 1, UploadOutcome::Unpacked);
        assert_eq!(answers, [2, 3].map(|who| Answer { who, claim: Claim::Ready }));
        assert_eq!(claims.claim(id("gcc"), 4, true), Claim::Ready);
    }

    #[test]
    fn a_failed_upload_passes_to_the_next() {
        let mut claims = Claims::new();
        claims.claim(id("gcc"), 1, false);
        claims.claim(id("gcc"), 2, false);
        claims.claim(id("gcc"), 3, false);
        assert_eq!(claims.ended(id("gcc"), 2, UploadOutcome::Unpacked), [], "2 uploads nothing yet");
        assert_eq!(claims.ended(id("gcc"), 1, UploadOutcome::Failed), [Answer { who: 2, claim: Claim::Upload }]);
        assert_eq!(claims.gone(3), []);
        assert_eq!(claims.ended(id("gcc"), 2, UploadOutcome::Failed), []);
        assert_eq!(claims.claim(id("gcc"), 4, false), Claim::Upload);
    }

    #[test]
    fn a_lost_uploader_blocks_nobody() {
        let mut claims = Claims::new();
        claims.claim(id("gcc"), 1, false);
        claims.claim(id("gcc"), 2, false);
        assert_eq!(claims.gone(1), [(id("gcc"), Answer { who: 2, claim: Claim::Upload })]);
        assert_eq!(claims.gone(2), []);
        assert_eq!(claims.claim(id("gcc"), 1, false), Claim::Upload);
    }
}
