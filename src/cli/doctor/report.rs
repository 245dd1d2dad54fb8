//! Findings on their way to whoever asked.
//!
//! A machine that does not answer takes seconds, so people see each finding when it is known. JSON is one document, at the end.

use serde_json::{Value, json};

use crate::cli::doctor::finding::{Finding, Verdict, render};
use crate::cli::render::columns;
use crate::cli::{Failure, print};
use crate::engine::config::Part;
use crate::model::exit;

#[derive(Debug)]
pub(crate) struct Report {
    form: Form,
    worst: Verdict,
    last: Option<Finding>,
}

#[derive(Debug)]
enum Form {
    Lines {
        columns: Option<usize>,
    },
    /// The parts so far, each with its findings.
    Document(Vec<(Part, Vec<Finding>)>),
}

impl Report {
    pub(crate) fn new(json: bool) -> Self {
        let form = if json { Form::Document(Vec::new()) } else { Form::Lines { columns: columns() } };
        Self { form, worst: Verdict::Ok, last: None }
    }

    /// What follows is about `part`.
    pub(crate) fn begin(&mut self, part: Part) -> Result<(), Failure> {
        self.last = None;
        match &mut self.form {
            Form::Lines { .. } => print(&format!("{}\n", part.name())).map(drop),
            Form::Document(parts) => {
                parts.push((part, Vec::new()));
                Ok(())
            }
        }
    }

    /// Two that say the same of two things, one after the other, are one.
    pub(crate) fn add(&mut self, findings: impl IntoIterator<Item = Finding>) -> Result<(), Failure> {
        for finding in findings {
            if self.last.as_ref() == Some(&finding) {
                continue;
            }
            self.worst = self.worst.max(finding.verdict);
            self.last = Some(finding.clone());
            match &mut self.form {
                Form::Lines { columns } => drop(print(&render(&finding, *columns))?),
                Form::Document(parts) => {
                    parts.last_mut().into_iter().for_each(|(_, known)| known.push(finding.clone()))
                }
            }
        }
        Ok(())
    }

    /// The exit status: no, where something is wrong.
    pub(crate) fn end(self) -> Result<u8, Failure> {
        if let Form::Document(parts) = self.form {
            let part = |(part, findings): &(Part, Vec<Finding>)| json!({ "role": part.name(), "findings": findings });
            let document: Value = parts.iter().map(part).collect();
            print(&format!("{document}\n"))?;
        }
        Ok(if self.worst == Verdict::Wrong { exit::NEGATIVE } else { exit::OK })
    }
}
