//! User Properties: name and value pairs, repeatable, in an order that is kept.

use std::fmt;

use super::property::{PropertyId, pieces};
use super::reader::Reader;

/// The User Properties of a packet, borrowed: from the packet they came in, or from pairs to send.
#[derive(Clone, Copy, Default)]
pub struct UserProperties<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    /// The checked property section of a packet that has a User Property; the others in it are skipped.
    Received(&'a [u8]),
    Pairs(&'a [(&'a str, &'a str)]),
}

impl Default for Source<'_> {
    fn default() -> Self {
        Self::Pairs(&[])
    }
}

impl<'a> UserProperties<'a> {
    /// `section` went through a `PropertyReader`, which saw a User Property.
    pub(super) const fn received(section: &'a [u8]) -> Self {
        Self(Source::Received(section))
    }

    /// The pairs in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let (received, pairs): (&[u8], &[_]) = match self.0 {
            Source::Received(section) => (section, &[]),
            Source::Pairs(pairs) => (&[], pairs),
        };
        let received = pieces(received).filter_map(|(id, piece)| {
            if id != PropertyId::UserProperty {
                return None;
            }
            let mut reader = Reader::new(piece);
            reader.u8().ok()?;
            Some((reader.string().ok()?, reader.string().ok()?))
        });
        received.chain(pairs.iter().copied())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self.0, Source::Pairs([]))
    }
}

impl<'a> From<&'a [(&'a str, &'a str)]> for UserProperties<'a> {
    fn from(pairs: &'a [(&'a str, &'a str)]) -> Self {
        Self(Source::Pairs(pairs))
    }
}

/// Equal pairs in equal order, wherever they are borrowed from.
impl PartialEq for UserProperties<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for UserProperties<'_> {}

impl fmt::Debug for UserProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
