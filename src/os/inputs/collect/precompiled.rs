//! Precompiled headers: sent as they are, and watched for what has become of the headers in them.

use super::{Collector, joined};
use crate::engine::compiler::tokens::HeaderName;
use crate::model::job::Bytes;
use crate::model::reason::{Reason, Why};
use crate::os::inputs::candidates::Places;
use crate::os::inputs::read::{ReadFile, with_included};
use crate::os::inputs::tree::{End, Walked, display};

impl Collector<'_> {
    /// Ships what stands precompiled for the header `name`. gcc takes a directory of such files, too.
    ///
    /// The precompiled header of this machine is sent, whatever it is: another compiler run makes another one, though all of them
    /// make the same objects.
    pub(super) fn precompiled(
        &mut self,
        places: &mut Places<'_>,
        name: &HeaderName,
        directory: &[u8],
        extension: &[u8],
    ) -> Result<(), Why> {
        let precompiled = HeaderName { quoted: name.quoted, name: [&name.name, extension].concat().into() };
        for walked in places.of(&precompiled, directory, &mut self.tree)? {
            let End::Directory(identity) = walked.end else {
                self.ship_precompiled(&walked, &name.name)?;
                continue;
            };
            self.tree.keep_trail(&walked);
            let listing = self.cache.listing(&walked.physical, identity);
            let too_many = || Why::new(Reason::PrecompiledHeader, display(&walked.physical));
            for member in listing.as_ref().as_ref().ok_or_else(too_many)? {
                let walked = self.walk(&joined(&walked.physical, member))?;
                self.ship_precompiled(&walked, &name.name)?;
            }
        }
        Ok(())
    }

    fn ship_precompiled(&mut self, walked: &Walked, header: &[u8]) -> Result<(), Why> {
        match walked.end {
            End::File(stat) => {
                self.ship(walked, stat)?;
                self.precompiled.push((Bytes::from(header), walked.physical.clone(), stat.identity));
                Ok(())
            }
            _ => self.keep_unshipped(walked),
        }
    }

    /// gcc believes a precompiled header whatever has become of the headers in it, and lists none of them. So none may have changed
    /// since, for the dependency run has read them as they are now; and a job need not list them.
    pub(super) fn precompiled_headers(&mut self, read: &[ReadFile]) -> Result<(), Why> {
        for (header, path, precompiled) in std::mem::take(&mut self.precompiled) {
            for file in with_included(read, |file| file.is_named(&header)) {
                if file.identity.changed_after(&precompiled) {
                    let detail = format!("{} changed after {} was made", display(&file.spelled), display(&path));
                    return Err(Why::new(Reason::PrecompiledHeader, detail));
                }
                self.predicted.precompiled.insert(file.physical.clone());
            }
        }
        Ok(())
    }
}
