//! Alarms, which members raise and somebody must disarm.

use super::{Header, Response, headed};
use crate::channel::{Kind, Method, Size};
use crate::client::{CallOptions, Client};
use crate::error::{Error, Outcome, Result};
use crate::gateway::json::{Decode, Encode, JsonError, Reader, Writer};

const ALARM_LIST: Method = Method::new("maintenance/alarm", Kind::Read, Size::Plain).with_leader().headless();
// An alarm that is raised again while the answer is awaited would be disarmed, too: its cause raises it once more.
const ALARM_DISARM: Method = Method::new("maintenance/alarm", Kind::Idempotent, Size::Plain).with_leader().headless();

/// What an alarm is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AlarmType {
    /// Nothing; where alarms are named: any.
    #[default]
    None,
    /// A member's database is as large as it may be: nothing can be written.
    NoSpace,
    /// A member's data are not those of the others.
    Corrupt,
    /// Something that this library doesn't know.
    Unlisted,
}

impl AlarmType {
    /// Its name at etcd.
    fn name(self) -> Option<&'static str> {
        match self {
            AlarmType::None | AlarmType::Unlisted => None,
            AlarmType::NoSpace => Some("NOSPACE"),
            AlarmType::Corrupt => Some("CORRUPT"),
        }
    }
}

/// An alarm that a member has raised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alarm {
    /// Its ID.
    pub member_id: u64,
    /// What it is about.
    pub alarm_type: AlarmType,
}

impl Decode for Alarm {
    fn decode(reader: &mut Reader<'_>) -> Result<Alarm, JsonError> {
        let mut alarm = Alarm::default();
        reader.object(&["memberID", "alarm"], |reader, field| {
            match field {
                0 => alarm.member_id = reader.uint64()?,
                _ => {
                    alarm.alarm_type = match reader.string_is(&["NONE", "NOSPACE", "CORRUPT"])? {
                        Some(0) => AlarmType::None,
                        Some(1) => AlarmType::NoSpace,
                        Some(2) => AlarmType::Corrupt,
                        _ => AlarmType::Unlisted,
                    }
                }
            }
            Ok(())
        })?;
        Ok(alarm)
    }
}

/// Alarms: those raised, or those disarmed.
#[derive(Clone, Debug, Default)]
pub struct AlarmResponse {
    /// The answer's header; etcd 3.4 gives none.
    pub header: Header,
    /// The alarms.
    pub alarms: Vec<Alarm>,
}

impl Decode for AlarmResponse {
    fn decode(reader: &mut Reader<'_>) -> Result<AlarmResponse, JsonError> {
        let mut response = AlarmResponse::default();
        reader.object(&["header", "alarms"], |reader, field| {
            match field {
                0 => response.header = Header::decode(reader)?,
                _ => response.alarms = reader.list(Alarm::decode)?,
            }
            Ok(())
        })?;
        Ok(response)
    }
}

/// Lists alarms, or disarms the one that is named.
struct AlarmRequest(Option<Alarm>);

impl Encode for AlarmRequest {
    fn encode(&self, out: &mut Writer<'_>) {
        let Some(alarm) = self.0 else { return out.enum_field("action", "GET") };
        out.enum_field("action", "DEACTIVATE");
        out.uint64_field("memberID", alarm.member_id);
        out.enum_field("alarm", alarm.alarm_type.name().unwrap_or("NONE"));
    }
}

headed!(AlarmResponse);

impl Client {
    /// The alarms that members have raised.
    pub fn alarm_list(&self, options: &CallOptions) -> Result<Response<AlarmResponse>> {
        self.call(ALARM_LIST, &AlarmRequest(None), options)
    }

    /// Disarms alarms: of this member, or with ID 0 of every one; of this type, or with [`AlarmType::None`] of every
    /// one. Answers those that were disarmed. An error after the first of several leaves the rest armed, and says so by
    /// [`Error::may_have_applied`].
    pub fn alarm_disarm(&self, alarm: Alarm, options: &CallOptions) -> Result<AlarmResponse> {
        if alarm.alarm_type == AlarmType::Unlisted {
            return Err(Error::invalid("alarm is none that can be named"));
        }
        let control = self.control(options);
        let channel = &self.shared.channel;
        let disarm = |alarm| -> Result<AlarmResponse> {
            let request = AlarmRequest(Some(alarm));
            Ok(channel.call::<AlarmResponse>(ALARM_DISARM, &request, &control)?.into_parts().1)
        };
        let names_one = alarm.member_id != 0 && alarm.alarm_type != AlarmType::None;
        if names_one {
            return disarm(alarm);
        }
        let (_, mut armed) = channel.call::<AlarmResponse>(ALARM_LIST, &AlarmRequest(None), &control)?.into_parts();
        armed.alarms.retain(|armed| {
            (alarm.member_id == 0 || alarm.member_id == armed.member_id)
                && (alarm.alarm_type == AlarmType::None || alarm.alarm_type == armed.alarm_type)
                && armed.alarm_type.name().is_some()
        });
        let mut disarmed = AlarmResponse { header: armed.header, alarms: Vec::new() };
        for (before, alarm) in armed.alarms.into_iter().enumerate() {
            let failed = |error: Error| if before == 0 { error } else { error.with_outcome(Outcome::Repeatable) };
            let answer = disarm(alarm).map_err(failed)?;
            disarmed.header = answer.header;
            disarmed.alarms.extend(answer.alarms);
        }
        Ok(disarmed)
    }
}
