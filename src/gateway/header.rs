//! The header of every answer.

use crate::gateway::json::{Decode, Encode, JsonError, Reader, Writer};

/// Which member answered, and where the store stood. Zero is what the server did not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The cluster's ID.
    pub cluster_id: u64,
    /// The ID of the member that answered.
    pub member_id: u64,
    /// The store's revision when it did.
    pub revision: i64,
    /// The Raft term then.
    pub raft_term: u64,
}

impl Decode for Header {
    fn decode(reader: &mut Reader<'_>) -> Result<Header, JsonError> {
        let mut header = Header::default();
        let fields = &[r#""cluster_id":""#, r#""member_id":""#, r#""revision":""#, r#""raft_term":""#];
        reader.frequent_object(fields, |plain, field| {
            match field {
                0 => header.cluster_id = plain.read(Reader::uint64)?,
                1 => header.member_id = plain.read(Reader::uint64)?,
                2 => header.revision = plain.int64()?,
                _ => header.raft_term = plain.read(Reader::uint64)?,
            }
            Ok(())
        })?;
        Ok(header)
    }
}

/// A response with a header.
pub(crate) trait Headed {
    /// Its header; zeros where the server gave none.
    fn header(&self) -> Header;
}

macro_rules! headed {
    ($($response:ty),*) => {$(
        impl $crate::gateway::Headed for $response {
            fn header(&self) -> $crate::gateway::Header {
                self.header
            }
        }
    )*};
}
pub(crate) use headed;

/// An answer of which only the header counts.
#[derive(Default)]
pub(crate) struct HeaderOnly {
    header: Header,
}

impl Decode for HeaderOnly {
    fn decode(reader: &mut Reader<'_>) -> Result<HeaderOnly, JsonError> {
        let mut response = HeaderOnly::default();
        reader.object(&["header"], |reader, _| {
            response.header = Header::decode(reader)?;
            Ok(())
        })?;
        Ok(response)
    }
}

headed!(HeaderOnly);

/// A request that says nothing but what its method is.
pub(crate) struct NoFields;

impl Encode for NoFields {
    fn encode(&self, _: &mut Writer<'_>) {}
}
