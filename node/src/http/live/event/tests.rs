//! What a reader of events makes of what is written.

use proptest::prelude::*;

use super::*;

fn written(manner: Manner, pieces: &[&[u8]]) -> String {
    let pieces: Vec<Bytes> = pieces.iter().map(|piece| Bytes::copy_from_slice(piece)).collect();
    let mut out = Vec::new();
    manner.write(&mut out, &pieces, true, true);
    String::from_utf8(out).expect("events are UTF-8")
}

/// The events as the HTML standard reads them: kind and data.
fn heard(text: &str) -> Vec<(String, String)> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let (mut events, mut kind, mut data) = (Vec::new(), String::new(), None::<String>);
    for line in text.split('\n') {
        if line.is_empty() {
            if let Some(data) = data.take() {
                events.push((std::mem::take(&mut kind), data));
            }
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => kind = value.to_owned(),
            "data" => match &mut data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                none => *none = Some(value.to_owned()),
            },
            _ => {}
        }
    }
    events
}

#[test]
fn media_types_tell_the_manner() {
    let table = [
        ("text/plain", Manner::Text),
        ("TEXT/html; charset=utf-8", Manner::Text),
        ("application/json", Manner::Json),
        ("Application/JSON ; charset=utf-8", Manner::Json),
        ("application/ndjson", Manner::Base64),
        ("application/octet-stream", Manner::Base64),
        ("tex", Manner::Base64),
        ("é/è", Manner::Base64),
    ];
    for (content_type, manner) in table {
        assert_eq!(Manner::of(content_type), manner, "{content_type}");
    }
}

#[test]
fn each_line_of_text_is_a_line_of_data() {
    let table: [(&[&[u8]], &str); 9] = [
        (&[b"one"], "event: data\ndata:one\n\n"),
        (&[b"on", b"e"], "event: data\ndata:one\n\n"),
        (&[b"one\ntwo"], "event: data\ndata:one\ndata:two\n\n"),
        (
            &[b"one\r\ntwo\rthree\n"],
            "event: data\ndata:one\ndata:two\ndata:three\ndata:\n\n",
        ),
        (&[b"one\r", b"\ntwo"], "event: data\ndata:one\ndata:two\n\n"),
        (&[b"\r\r\n\n"], "event: data\ndata:\ndata:\ndata:\ndata:\n\n"),
        (&[b" one"], "event: data\ndata:  one\n\n"),
        (&[b"o", b" ne\n", b" x"], "event: data\ndata:o ne\ndata:  x\n\n"),
        (
            &[b"\n\nevent: control\ndata:{}\n\n"],
            "event: data\ndata:\ndata:\ndata:event: control\ndata:data:{}\ndata:\ndata:\n\n",
        ),
    ];
    for (pieces, expected) in table {
        assert_eq!(written(Manner::Text, pieces), expected, "{pieces:?}");
    }
}

#[test]
fn json_is_one_array_however_it_is_cut() {
    assert_eq!(
        written(Manner::Json, &[b"1\n{\"a\":2}\n"]),
        "event: data\ndata:[1,{\"a\":2}]\n\n"
    );
    let mut out = Vec::new();
    Manner::Json.write(&mut out, &[Bytes::from_static(b"1\n{\"a")], true, false);
    Manner::Json.write(&mut out, &[Bytes::from_static(b"\":2}\n")], false, true);
    assert_eq!(out, b"event: data\ndata:[1,{\"a\":2}]\n\n");
}

#[test]
fn everything_else_is_base64() {
    // RFC 4648, 10.
    let table = [
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ];
    for (bytes, expected) in table {
        assert_eq!(
            written(Manner::Base64, &[bytes.as_bytes()]),
            format!("event: data\ndata:{expected}\n\n")
        );
        let single: Vec<&[u8]> = bytes.as_bytes().chunks(1).collect();
        assert_eq!(
            written(Manner::Base64, &single),
            format!("event: data\ndata:{expected}\n\n")
        );
    }
    assert_eq!(
        written(Manner::Base64, &[&[0xff, 0xfe, 0xfd]]),
        "event: data\ndata://79\n\n"
    );
}

#[test]
fn a_closed_stream_has_no_cursor() {
    let stand = |up_to_date, closed| {
        let mut out = Vec::new();
        write_stand(
            &mut out,
            &Stand {
                next: Offset(7),
                cursor: 9,
                up_to_date,
                closed,
            },
        );
        String::from_utf8(out).unwrap()
    };
    let next = "\"streamNextOffset\":\"00000000000000000007\"";
    assert_eq!(
        stand(true, true),
        format!("event: control\ndata:{{{next},\"streamClosed\":true}}\n\n")
    );
    assert_eq!(
        stand(true, false),
        format!("event: control\ndata:{{{next},\"streamCursor\":\"9\",\"upToDate\":true}}\n\n")
    );
    assert_eq!(
        stand(false, false),
        format!("event: control\ndata:{{{next},\"streamCursor\":\"9\"}}\n\n")
    );
}

#[test]
fn what_is_no_utf_8_is_shown_as_such_and_characters_may_be_cut() {
    let table: [(&[&[u8]], &str); 4] = [
        (&[b"a\xe2", b"\x82", b"\xac\nb"], "data:a€\ndata:b"),
        (&[b"caf\xe9\nx"], "data:caf\u{fffd}\ndata:x"),
        (&[b"\x82", b"\xacx"], "data:\u{fffd}\u{fffd}x"),
        (&[b"a\xe2"], "data:a\u{fffd}"),
    ];
    for (pieces, expected) in table {
        assert_eq!(written(Manner::Text, pieces), format!("event: data\n{expected}\n\n"));
    }
}

#[test]
fn half_a_character_and_half_a_line_end_wait() {
    let table: [(&[u8], usize); 9] = [
        (b"", 0),
        (b"abc", 0),
        (b"abc\r", 1),
        ("a€".as_bytes(), 0),
        (&"a€".as_bytes()[..3], 2),
        (&"a€".as_bytes()[..2], 1),
        (&"😀".as_bytes()[..3], 3),
        (&[0x80, 0x80, 0x80, 0x80, 0x80], 0),
        (&[b'a', 0xff], 0),
    ];
    for (bytes, waits) in table {
        assert_eq!(unfinished(bytes.iter().rev().copied()), waits, "{bytes:?}");
    }
    let pieces = |pieces: &[&'static [u8]]| pieces.iter().map(|piece| Bytes::from_static(piece)).collect::<Vec<_>>();
    let mut cut = pieces(&[b"a", b"b\xe2", b"\x82"]);
    assert_eq!(Manner::Text.leave_unfinished(&mut cut), 2);
    assert_eq!(cut, pieces(&[b"a", b"b"]));
    let mut all = pieces(&[b"\r"]);
    assert_eq!(Manner::Text.leave_unfinished(&mut all), 1);
    assert!(all.is_empty());
    assert_eq!(Manner::Base64.leave_unfinished(&mut pieces(&[b"a\r"])), 0);
}

proptest! {
    #[test]
    fn any_text_is_one_event_and_its_lines_come_back(text in "([a-z :\r\n]|data:|event:|€){0,40}", cut in 0usize..40) {
        let cut = (0..=cut.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        let events = heard(&written(Manner::Text, &[&text.as_bytes()[..cut], &text.as_bytes()[cut..]]));
        let lines = text.replace("\r\n", "\n").replace('\r', "\n");
        prop_assert_eq!(events, vec![("data".to_owned(), lines)]);
    }
}
