//! Alarms, which members raise and somebody must disarm.

use super::boundary::{fallible, infallible};
use super::client::{borrow, etcdgw_client};
use super::constants::etcdgw_status;
use super::error::etcdgw_error;
use super::options::{self, OptionStruct, choice, etcdgw_call_options};
use super::output::Output;
use super::response::{self, Kept, etcdgw_header};
use crate::rpc::alarm::{Alarm, AlarmResponse, AlarmType};

/// In the order of the constants.
const ALARMS: &[AlarmType] = &[AlarmType::None, AlarmType::NoSpace, AlarmType::Corrupt];

/// An alarm that a member has raised.
#[repr(C)]
pub struct etcdgw_alarm {
    /// The member's ID.
    pub member_id: u64,
    /// `ETCDGW_ALARM_NOSPACE` or `_CORRUPT`; -1: one that this release doesn't know.
    pub alarm: i32,
    /// 0.
    pub reserved0: i32,
}

/// Alarms: those raised, or those disarmed.
#[repr(C)]
pub struct etcdgw_maintenance_alarm_list_response {
    /// The header; etcd 3.4 gives none.
    pub header: etcdgw_header,
    /// The alarms; `alarms_len` of them.
    pub alarms: *const *const etcdgw_alarm,
    /// How many of them are here.
    pub alarms_len: usize,
}

/// Lists the alarms that members have raised.
///
/// `options` may be NULL. `response`: receives the answer, owned by the caller:
/// `etcdgw_maintenance_alarm_list_response_free`; NULL when it isn't wanted. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_maintenance_alarm_list(
    client: *mut etcdgw_client,
    options: *const etcdgw_call_options,
    response: *mut *mut etcdgw_maintenance_alarm_list_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let client = borrow(client)?;
            let (_, answer) = client.alarm_list(&options::read(options)?.call()?)?.into_parts();
            response.set_with(|| new(answer));
            Ok(())
        })
    }
}

/// Disarms alarms, once their causes are gone: a member whose database is still too large raises its own again.
///
/// `member_id`: 0: of every member. `alarm`: `ETCDGW_ALARM_NOSPACE` or `_CORRUPT`; `ETCDGW_ALARM_NONE`: every one. `options`
/// may be NULL. `response`: receives those that were disarmed, owned by the caller:
/// `etcdgw_maintenance_alarm_list_response_free`; NULL when it isn't wanted. Any thread.
///
/// Of several they are disarmed one after another, and an error leaves the rest as they were. When an answer is lost it is
/// asked for again: done twice it does no more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_maintenance_alarm_disarm(
    client: *mut etcdgw_client,
    member_id: u64,
    alarm: i32,
    options: *const etcdgw_call_options,
    response: *mut *mut etcdgw_maintenance_alarm_list_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let client = borrow(client)?;
            let alarm = Alarm { member_id, alarm_type: choice(alarm, "alarm", ALARMS)? };
            let answer = client.alarm_disarm(alarm, &options::read(options)?.call()?)?;
            response.set_with(|| new(answer));
            Ok(())
        })
    }
}

fn new(answer: AlarmResponse) -> *mut etcdgw_maintenance_alarm_list_response {
    let mut kept = Kept::default();
    let keep = |alarm: Alarm| {
        let number = ALARMS.iter().position(|known| *known == alarm.alarm_type);
        let number = number.map_or(-1, |number| number as i32);
        kept.keep(etcdgw_alarm { member_id: alarm.member_id, alarm: number, reserved0: 0 })
    };
    let alarms = answer.alarms.into_iter().map(keep).collect();
    let (alarms, alarms_len) = kept.array(alarms);
    response::new(etcdgw_maintenance_alarm_list_response { header: answer.header.into(), alarms, alarms_len }, kept)
}

/// Frees a response with everything in it; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_maintenance_alarm_list_response_free(
    response: *mut etcdgw_maintenance_alarm_list_response,
) {
    // SAFETY: NULL or a response that the caller owns, says the header.
    infallible((), || unsafe { response::free(response) });
}
