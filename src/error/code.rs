//! What the server says by a number or a message that it is known to use.

/// gRPC's canonical codes, as etcd sends them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i32)]
#[allow(missing_docs, reason = "the names are gRPC's: https://grpc.io/docs/guides/status-codes/")]
pub enum Code {
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

impl Code {
    const ALL: [Code; 16] = [
        Code::Cancelled,
        Code::Unknown,
        Code::InvalidArgument,
        Code::DeadlineExceeded,
        Code::NotFound,
        Code::AlreadyExists,
        Code::PermissionDenied,
        Code::ResourceExhausted,
        Code::FailedPrecondition,
        Code::Aborted,
        Code::OutOfRange,
        Code::Unimplemented,
        Code::Internal,
        Code::Unavailable,
        Code::DataLoss,
        Code::Unauthenticated,
    ];

    /// The code of a number on the wire; 0 is no error, and an unlisted number is [`Code::Unknown`], as gRPC has it.
    pub fn from_number(number: i64) -> Code {
        Code::ALL.into_iter().find(|code| *code as i64 == number).unwrap_or(Code::Unknown)
    }

    /// The code of a name in a Go status text: `code = PermissionDenied desc = …`.
    pub(crate) fn from_go_name(name: &str) -> Option<Code> {
        if name == "Canceled" {
            return Some(Code::Cancelled);
        }
        Code::ALL.into_iter().find(|code| format!("{code:?}") == name)
    }

    /// Whether the server refuses with this code before it proposes anything, but for [`Reason::NoSpace`]. The others are
    /// also given when a proposal was made and its fate is not known: a timeout, a lost leader, a stopping server.
    pub(crate) fn refuses(self) -> bool {
        !matches!(
            self,
            Code::Cancelled
                | Code::Unknown
                | Code::DeadlineExceeded
                | Code::Aborted
                | Code::Internal
                | Code::Unavailable
                | Code::DataLoss
        )
    }
}

/// What the server's message means, where a program may want to act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
#[allow(missing_docs, reason = "each is named after etcd's own error; src/gateway/status.rs has the messages")]
pub enum Reason {
    Other = 0,
    Compacted = 1,
    FutureRevision = 2,
    LeaseNotFound = 3,
    LeaseExists = 4,
    KeyNotFound = 5,
    EmptyKey = 6,
    DuplicateKey = 7,
    TooManyOps = 8,
    RequestTooLarge = 9,
    NoSpace = 10,
    NoLeader = 11,
    NotLeader = 12,
    LeaderChanged = 13,
    Timeout = 14,
    TooManyRequests = 15,
    AuthFailed = 16,
    InvalidToken = 17,
    OldAuthRevision = 18,
    AuthNotEnabled = 19,
    UserNotFound = 20,
    RoleNotFound = 21,
    MemberNotFound = 22,
    Learner = 23,
    Corrupt = 24,
}
