//! `farccctl doctor`: finds what is wrong on this machine, and says how to mend it.
//!
//! [`gather`] looks and does not judge, [`judge`] is pure; between them are plain [`facts`], so that every broken set-up can be
//! written down in a test. What this user cannot look at is said to be unknown, never to be good.

mod examine;
mod facts;
mod finding;
mod gather;
mod judge;
mod report;
mod sandbox_check;

use crate::cli::Failure;
use crate::cli::arguments::DoctorOptions;
use crate::cli::doctor::gather::configuration::Subject;
use crate::cli::doctor::gather::units;
use crate::cli::doctor::report::Report;
use crate::engine::config::Part;

pub(crate) use sandbox_check::check as check_sandbox;

pub(crate) fn examine(options: &DoctorOptions) -> Result<u8, Failure> {
    let mut report = Report::new(options.json);
    for subject in subjects(options) {
        report.begin(subject.part)?;
        examine::examine(&subject, &mut report)?;
    }
    report.end()
}

/// The part that was asked for, or all that are set up here; a client is everywhere.
fn subjects(options: &DoctorOptions) -> Vec<Subject> {
    if let Some(role) = options.role {
        return vec![Subject::new(role.into(), options.config.clone())];
    }
    let all = [Part::Client, Part::Scheduler, Part::Builder].map(|part| Subject::new(part, None));
    let is_here = |subject: &Subject| subject.part == Part::Client || subject.is_configured() || is_enabled(subject);
    all.into_iter().filter(is_here).collect()
}

fn is_enabled(subject: &Subject) -> bool {
    units::units(subject.part, subject.is_own)
        .is_some_and(|units| [units.socket, units.service].iter().any(|unit| unit.enabled == "enabled"))
}
