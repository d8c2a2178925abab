#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use serde_json::Value;

/// Numbers that look random and are the same in every run (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn text(&mut self) -> String {
        const CHARACTERS: &[char] = &['a', '"', '\\', '/', '\n', '\u{1}', 'é', '\u{a0}', '€', '😀', ' ', '{', '0'];
        (0..self.below(8)).filter_map(|_| CHARACTERS.get(self.below(13) as usize)).collect()
    }

    fn value(&mut self, depth: u64) -> Value {
        match self.below(if depth == 0 { 5 } else { 7 }) {
            0 => Value::Null,
            1 => Value::Bool(self.below(2) == 0),
            2 => Value::from(self.below(u64::MAX) as i64),
            3 => Value::from(self.below(1 << 40) as f64 / 1024.0),
            4 => Value::String(self.text()),
            5 => (0..self.below(4)).map(|_| self.value(depth - 1)).collect::<Vec<_>>().into(),
            _ => Value::Object((0..self.below(4)).map(|_| (self.text(), self.value(depth - 1))).collect()),
        }
    }
}

fn read<T>(text: &str, read: impl FnOnce(&mut Reader<'_>) -> Result<T, JsonError>) -> Result<T, JsonError> {
    let mut bytes = text.as_bytes().to_vec();
    let mut reader = Reader::new(&mut bytes);
    let value = read(&mut reader)?;
    reader.finish().map(|()| value)
}

fn skips(bytes: &[u8]) -> bool {
    let mut copy = bytes.to_vec();
    let mut reader = Reader::new(&mut copy);
    let is_whole = reader.skip().and_then(|()| reader.finish()).is_ok();
    assert_eq!(bytes, copy, "what is passed over is left as it is");
    is_whole
}

#[test]
fn whatever_serde_json_writes_is_passed_over_whole() {
    let mut dice = Dice(7);
    for _ in 0..5_000 {
        let value = dice.value(5);
        assert!(skips(&serde_json::to_vec(&value).unwrap()), "{value}");
        assert!(skips(&serde_json::to_vec_pretty(&value).unwrap()), "{value}");
    }
}

#[test]
fn a_damaged_document_is_refused_where_it_is_no_json_and_never_panics() {
    let mut dice = Dice(11);
    for _ in 0..5_000 {
        let mut bytes = serde_json::to_vec(&dice.value(4)).unwrap();
        let place = dice.below(bytes.len() as u64) as usize;
        bytes[place] = b"\"\\{}[],:0eE-.tn\xff"[dice.below(16) as usize];
        let is_json = serde_json::from_slice::<Value>(&bytes).is_ok();
        // A reader that doesn't build values need not look at what strings contain; it takes all that is JSON.
        if is_json {
            assert!(skips(&bytes), "{}", String::from_utf8_lossy(&bytes));
        }
        skips(&bytes);
        read(&String::from_utf8_lossy(&bytes), |reader| {
            reader.object(&["a"], |reader, _| reader.bytes().map(|_| ())).and_then(|()| reader.text())
        })
        .ok();
    }
}

#[test]
fn a_cut_document_is_refused_wherever_it_is_cut() {
    let whole = br#"{"header":{"revision":"12"},"kvs":[{"key":"YQ==","x":-1.5e+3}, null,true,"\ud83d\ude00"]}"#;
    assert!(skips(whole));
    for length in 0..whole.len() {
        assert!(!skips(&whole[..length]), "{length}");
    }
}

#[test]
fn text_reads_as_serde_json_reads_it() {
    let mut dice = Dice(13);
    for _ in 0..2_000 {
        let text = dice.text();
        let mut plain = serde_json::to_string(&text).unwrap();
        assert_eq!(read(&plain, |reader| reader.text()).unwrap(), text);
        plain = text.chars().fold("\"".to_owned(), |mut all, character| {
            character.encode_utf16(&mut [0; 2]).iter().for_each(|unit| all += &format!("\\u{unit:04x}"));
            all
        });
        plain.push('"');
        assert_eq!(read(&plain, |reader| reader.text()).unwrap(), text);
    }
}

#[test]
fn an_escape_that_is_none_is_refused() {
    for text in [r#""\x""#, r#""\u12""#, r#""\ud800""#, r#""\ud800\u0041""#, r#""\udc00""#, r#""\"#, "\"a"] {
        read(text, |reader| reader.text()).unwrap_err();
    }
    let mut not_utf8 = b"\"\xff\"".to_vec();
    Reader::new(&mut not_utf8).text().unwrap_err();
}

#[test]
fn numbers_are_read_with_and_without_quotes_up_to_their_bounds() {
    for (text, number) in [
        ("0", 0),
        ("\"-1\"", -1),
        (" 7 ", 7),
        ("\"9223372036854775807\"", i64::MAX),
        ("-9223372036854775808", i64::MIN),
    ] {
        assert_eq!(read(text, |reader| reader.int64()).unwrap(), number);
    }
    assert_eq!(read("\"18446744073709551615\"", |reader| reader.uint64()).unwrap(), u64::MAX);
    assert_eq!(read("-0", |reader| reader.uint64()).unwrap(), 0);
    for text in ["9223372036854775808", "\"-9223372036854775809\"", "1.5", "1e3", "\"1", "\"\"", "-", "[]", "true"] {
        read(text, |reader| reader.int64()).unwrap_err();
    }
    read("18446744073709551616", |reader| reader.uint64()).unwrap_err();
    read("-1", |reader| reader.uint64()).unwrap_err();
}

#[test]
fn a_number_reads_as_the_standard_library_reads_it_whatever_its_length_and_what_follows() {
    let digits = ["0", "1", "9", "18446744073709551615", "9223372036854775807", "9223372036854775808"];
    let mut texts: Vec<String> = digits.iter().map(|text| (*text).to_owned()).collect();
    texts.extend((1..=24).flat_map(|length| ["9".repeat(length), format!("{:0length$}", 7), "1".repeat(length)]));
    for text in texts {
        for (number, sign) in [(format!("-{text}"), "-"), (text.clone(), "")] {
            for (document, rest) in [
                (format!("\"{number}\""), ""),
                (number.clone(), ""),
                (format!(" \"{number}\""), ""),
                (format!("[\"{number}\",\"{}\"]", "x".repeat(40)), "more"),
            ] {
                let read_it = |read_one: &dyn Fn(&mut Reader<'_>) -> Result<i128, JsonError>| {
                    let mut found = None;
                    read(&document, |reader| match rest {
                        "" => read_one(reader).map(|number| found = Some(number)),
                        _ => reader.array(|reader| match found {
                            None => read_one(reader).map(|number| found = Some(number)),
                            Some(_) => reader.skip(),
                        }),
                    })
                    .ok()
                    .and(found)
                };
                let signed = read_it(&|reader| reader.int64().map(i128::from));
                assert_eq!(signed, number.parse::<i64>().ok().map(i128::from), "{document}");
                let unsigned = read_it(&|reader| reader.uint64().map(i128::from));
                let is_zero = text.bytes().all(|digit| digit == b'0');
                let wanted = if sign.is_empty() || is_zero { text.parse::<u64>().ok().map(i128::from) } else { None };
                assert_eq!(unsigned, wanted, "{document}");
            }
        }
    }
    for text in ["\"\"", "\"1 \"", "\" 1\"", "\"1.0\"", "\"+1\"", "\"--1\"", "\"1", "\"1a\"", "\"0x1\""] {
        let document = format!("[{text},\"{}\"]", "x".repeat(40));
        for document in [text, &document] {
            read(document, |reader| match document {
                _ if document.starts_with('[') => reader.array(|reader| reader.int64().map(|_| ())),
                _ => reader.int64().map(|_| ()),
            })
            .unwrap_err();
        }
    }
}

#[test]
fn an_id_is_no_other_one_and_none_wherever_one_of_its_characters_is_another() {
    for id in ["1234567890123456789", "12345678901234567890", "18446744073709551615", "10000000000000000001"] {
        for (place, byte) in (0..id.len()).flat_map(|place| (b' '..=b'~').map(move |byte| (place, byte))) {
            if matches!(byte, b'"' | b'\\') {
                continue;
            }
            let mut text = id.to_owned().into_bytes();
            text[place] = byte;
            let text = String::from_utf8(text).unwrap();
            let wanted = if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse::<u64>().ok() } else { None };
            // Behind it stands as much as in any header.
            let found = read(&format!("[\"{text}\",\"{}\"]", "x".repeat(9)), |reader| {
                let mut found = None;
                reader.array(|reader| match found {
                    None => reader.uint64().map(|id| found = Some(id)),
                    Some(_) => reader.skip(),
                })?;
                Ok(found)
            });
            assert_eq!(found.ok().flatten(), wanted, "{text}");
        }
    }
}

/// A value of a field, in the order in which they were read.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Number(usize, i64),
    Bytes(usize, Vec<u8>),
}

enum Place {
    Number(usize, i64),
    Bytes(usize, Span),
}

type ReadObjects = fn(&mut Reader<'_>, &mut Vec<Place>) -> Result<(), JsonError>;

/// Objects with two numbers and bytes between them: as any others, and in the ways for great numbers.
const WAYS: [ReadObjects; 3] = {
    const FIELDS: &[&str; 3] = &[r#""a":""#, r#""bb":""#, r#""c":""#];

    fn any(reader: &mut Reader<'_>, places: &mut Vec<Place>) -> Result<(), JsonError> {
        reader.array(|reader| {
            reader.object(&["a", "bb", "c"], |reader, field| {
                places.push(match field {
                    1 => Place::Bytes(1, reader.bytes()?),
                    _ => Place::Number(field, reader.int64()?),
                });
                Ok(())
            })
        })
    }

    #[inline(always)]
    fn value(plain: &mut Plain<'_, '_>, field: usize, places: &mut Vec<Place>) -> Result<(), JsonError> {
        places.push(match field {
            1 => Place::Bytes(1, plain.bytes()?),
            _ => Place::Number(field, plain.int64()?),
        });
        Ok(())
    }

    fn by_themselves(reader: &mut Reader<'_>, places: &mut Vec<Place>) -> Result<(), JsonError> {
        reader.array(|reader| reader.frequent_object(FIELDS, |plain, field| value(plain, field, places)))
    }

    fn together(reader: &mut Reader<'_>, places: &mut Vec<Place>) -> Result<(), JsonError> {
        reader.frequent_objects(
            #[inline(always)]
            |plain| {
                plain.object(
                    FIELDS,
                    #[inline(always)]
                    |plain, field| value(plain, field, places),
                )
            },
        )
    }

    [any, by_themselves, together]
};

/// What each way makes of an object, which must be the same: where the buffer ends, and where it goes on.
fn read_in_all_ways(object: &str) -> (Result<(), JsonError>, Vec<Seen>) {
    let behind = format!(r#",{{"x":"{}"}}"#, "x".repeat(100));
    let [_, whole] = [&*behind, ""].map(|behind| {
        let document = format!("[{object}{behind}]");
        let [any, others @ ..] = WAYS.map(|read_objects| {
            let (mut arena, mut places) = (document.clone().into_bytes(), Vec::new());
            let mut reader = Reader::new(&mut arena);
            let result = read_objects(&mut reader, &mut places).and_then(|()| reader.finish());
            let seen = places.iter().map(|place| match *place {
                Place::Number(field, number) => Seen::Number(field, number),
                Place::Bytes(field, span) => Seen::Bytes(field, span.of(&arena).to_vec()),
            });
            let seen: Vec<Seen> = seen.collect();
            (result, seen)
        });
        for other in others {
            assert_eq!(other, any, "{document}");
        }
        any
    });
    whole
}

#[test]
fn an_object_that_comes_in_great_numbers_reads_as_any_other_whatever_its_order_and_spacing() {
    use Seen::{Bytes, Number};
    let whole = r#"{"a":"1","bb":"Yg==","c":"345"}"#;
    assert_eq!(read_in_all_ways(whole), (Ok(()), vec![Number(0, 1), Bytes(1, b"b".to_vec()), Number(2, 345)]));
    assert_eq!(read_in_all_ways(r#"{"c":"3","a":"1","a":"2"}"#).1, [Number(2, 3), Number(0, 1), Number(0, 2)]);
    let numbers = [Bytes(1, vec![b'b'; 60]), Number(2, 4)];
    let text = format!(r#"{{"a":null,"bb":"{}","x":[{{"a":"7"}}],"\u0063":4}}"#, "YmJi".repeat(20));
    assert_eq!(read_in_all_ways(&text).1, numbers);
    for spaced in [" { \"a\" : 1 , \"c\" : 2 } ", "{\"a\":1 ,\"c\":2\n}", "{\"a\":\"1\" ,\"c\":\n2}"] {
        assert_eq!(read_in_all_ways(spaced), (Ok(()), vec![Number(0, 1), Number(2, 2)]));
    }
    assert_eq!(read_in_all_ways("{\"a\": null,\"c\":\n2}"), (Ok(()), vec![Number(2, 2)]));
    for empty in ["{}", "{ }", " {\n} "] {
        assert_eq!(read_in_all_ways(empty), (Ok(()), vec![]));
    }
    for bad in
        [r#"{"a":"1",}"#, r#"{"a":"1""#, r#"{"a":"1","c"}"#, r#"{,"a":1}"#, r#"{"a":"1" "c":2}"#, r#"{"a":nil}"#, "{\""]
    {
        read_in_all_ways(bad).0.unwrap_err();
    }
}

#[test]
fn a_damaged_object_that_comes_in_great_numbers_reads_as_any_other() {
    let mut dice = Dice(17);
    let mut reads = 0;
    for round in 0..40_000 {
        let bytes = "QUJD".repeat(round % 40) + ["", "QQ==", "QUI="][round % 3];
        let number = "1234567890123456789".get(..1 + round % 19).unwrap();
        let mut text = format!(r#"{{"a":"{number}","bb":"{bytes}","c":"{round}"}}"#).into_bytes();
        for _ in 0..dice.below(3) {
            let place = dice.below(text.len() as u64) as usize;
            text[place] = b"\"\\{}[],:0eE-.tn abc1=+/_"[dice.below(24) as usize];
        }
        let text = String::from_utf8(text).unwrap();
        reads += usize::from(read_in_all_ways(&text).0.is_ok());
    }
    assert!((10_000..39_000).contains(&reads), "{reads} could be read");
}

#[test]
fn base64_is_read_into_its_own_place_and_refused_where_it_is_none() {
    for bytes in [&b""[..], b"\0\xff\n", b"abcd", &[0x5a; 1000]] {
        let coded = serde_json::to_string(&base64_simd::STANDARD.encode_to_string(bytes)).unwrap();
        let mut arena = format!("{{\"key\":{coded}}}").into_bytes();
        let mut place = Span::default();
        let read = Reader::new(&mut arena).object(&["key"], |reader, _| reader.bytes().map(|span| place = span));
        read.unwrap();
        assert_eq!(place.of(&arena), bytes);
    }
    // What a proxy that writes JSON anew may make of a slash.
    assert_eq!(read(r#""\/\/8=""#, |reader| reader.bytes()).unwrap().len(), 2);
    for text in ["\"YQ\"", "\"Y-_=\"", "\"YQ==YQ==\"", "\"é===\"", "7"] {
        read(text, |reader| reader.bytes()).unwrap_err();
    }
}

#[test]
fn fields_are_found_in_any_order_null_is_absent_and_the_last_of_two_counts() {
    let mut seen = Vec::new();
    let text = r#"{"c":"3","a":1,"unknown":{"a":[7]},"b":null,"\u0061":2}"#;
    let result = read(text, |reader| {
        reader.object(&["a", "b", "c"], |reader, field| reader.int64().map(|number| seen.push((field, number))))
    });
    result.unwrap();
    assert_eq!(seen, [(2, 3), (0, 1), (0, 2)]);
}

#[test]
fn nesting_without_end_is_refused_before_the_stack_is() {
    for open in ["[", "{\"a\":"] {
        let error = read(&open.repeat(1_000_000), |reader| reader.skip()).unwrap_err();
        assert!(error.to_string().contains("less nesting"), "{error}");
    }
    assert!(skips(format!("{}{}", "[".repeat(200), "]".repeat(200)).as_bytes()));
}

#[test]
fn what_follows_a_value_is_refused() {
    for text in ["{} {}", "1,", "\"\"x", "[]]"] {
        assert!(!skips(text.as_bytes()), "{text}");
    }
}

#[test]
fn what_is_written_reads_as_the_same_with_serde_json() {
    let mut out = Vec::new();
    Writer::new(&mut out).object(|out| {
        out.bytes_field("key", b"\0\xff");
        out.joined_bytes_field("range_end", b"a", b"b");
        out.int64_field("lease", i64::MIN);
        out.bool_field("prev_kv", true);
        out.object_field("empty", |_| {});
        out.array_field("none", Vec::<i64>::new(), |_, _| {});
        out.array_field("filters", ["NOPUT", "NODELETE"], |out, name| out.text(name));
        out.array_field("success", [1, 2], |out, number| out.object(|out| out.int64_field("limit", number)));
        out.enum_field("sort_order", "ASCEND");
    });
    let wanted = serde_json::json!({
        "key": "AP8=", "range_end": "YWI=", "lease": "-9223372036854775808", "prev_kv": true, "empty": {},
        "filters": ["NOPUT", "NODELETE"], "success": [{"limit": "1"}, {"limit": "2"}], "sort_order": "ASCEND",
    });
    assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), wanted);
}
