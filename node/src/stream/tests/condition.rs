//! Entity tags and the conditions on them. RFC 9110, 8.8.3 and 13.1; PROTOCOL-NOTES, Writes and Reads.

use super::*;

#[test]
fn a_write_goes_through_only_where_the_client_saw_the_stream() {
    let mut kept = Kept::stream("text/plain");
    assert_eq!(kept.tag(), "\"1:0:0\"");
    let first = kept.tag();
    holds(
        &mut kept,
        &[
            (append("a").if_match(&first), "appended 1"),
            (append("b").if_match(&first), "refused: if-match"),
            (append("b").if_match("\"1:0:1\""), "appended 2"),
            // Any of a list will do.
            (append("c").if_match("\"1:0:1\", \"1:0:2\""), "appended 3"),
            // The end counts, not where a read began.
            (append("d").if_match("\"1:2:3\""), "appended 4"),
            (append("x").if_match("\"1:0:3\""), "refused: if-match"),
            (append("x").if_match("\"2:0:4\""), "refused: if-match"),
            (append("x").if_match("\"1:0:4:c\""), "refused: if-match"),
            // Compared strongly: a weak tag never matches; neither does another server's.
            (append("x").if_match("W/\"1:0:4\""), "refused: if-match"),
            (append("x").if_match("\"xyzzy\""), "refused: if-match"),
            (append("e").if_match("*"), "appended 5"),
            (close("").if_match("\"1:0:5\""), "appended 5 closed"),
        ],
    );
    assert_eq!(kept.text(), "abcde");
    assert_eq!(kept.tag(), "\"1:0:5:c\"");
}

/// A condition counts only where the request would succeed without it.
#[test]
fn other_refusals_come_before_the_condition() {
    let stale = "\"9:0:0\"";
    let mut kept = Kept::default();
    holds(
        &mut kept,
        &[
            (append("x").if_match(stale), "refused: not found"),
            (append("x").if_match("*"), "refused: not found"),
            (delete().if_match("*"), "refused: not found"),
            // A create would have succeeded: there is nothing that could match.
            (create("text/plain").if_match("*"), "refused: if-match"),
            (create("text/plain").if_match(stale), "refused: if-match"),
            (create("text/plain"), "created 0"),
            (create("text/plain").if_match(stale), "refused: if-match"),
            (create("text/html").if_match(stale), "refused: conflict"),
            (delete().if_match(stale), "refused: if-match"),
        ],
    );
    let tag = kept.tag();
    holds(
        &mut kept,
        &[
            (create("text/plain").if_match("*"), "exists 0"),
            (create("text/plain").if_match(&tag), "exists 0"),
            (close(""), "appended 0 closed"),
            (append("x").if_match(stale), "refused: closed at 0"),
            (delete().if_match(&tag), "refused: if-match"),
        ],
    );
    let tag = kept.tag();
    holds(&mut kept, &[(delete().if_match(&tag), "deleted")]);
}

#[test]
fn a_condition_is_a_star_or_a_list_of_tags() {
    let etag = |incarnation, start, end, closed| ETag {
        incarnation,
        start,
        end,
        closed,
    };
    let tag = |etag| Tag { weak: false, etag };
    let table = [
        ("*", Ok(Condition::Any)),
        (" * ", Ok(Condition::Any)),
        ("\"1:2:3\"", Ok(Condition::Tags(vec![tag(etag(1, 2, 3, false))]))),
        ("\"1:2:3:c\"", Ok(Condition::Tags(vec![tag(etag(1, 2, 3, true))]))),
        (
            "W/\"1:2:3\"",
            Ok(Condition::Tags(vec![Tag {
                weak: true,
                etag: etag(1, 2, 3, false),
            }])),
        ),
        (
            "\"1:2:3\" ,, \"4:5:6\"",
            Ok(Condition::Tags(vec![
                tag(etag(1, 2, 3, false)),
                tag(etag(4, 5, 6, false)),
            ])),
        ),
        // A comma may stand within the quotes. Tags that are not ours are left out.
        (
            "\"a,b\", \"1:2:3\"",
            Ok(Condition::Tags(vec![tag(etag(1, 2, 3, false))])),
        ),
        ("\"\"", Ok(Condition::Tags(vec![]))),
        ("\"01:2:3\"", Ok(Condition::Tags(vec![]))),
        ("\"+1:2:3\"", Ok(Condition::Tags(vec![]))),
        ("\"1:2\"", Ok(Condition::Tags(vec![]))),
        ("\"1:2:3:d\"", Ok(Condition::Tags(vec![]))),
        ("\"1:2:3:c:\"", Ok(Condition::Tags(vec![]))),
        ("\"99999999999999999999:2:3\"", Ok(Condition::Tags(vec![]))),
        ("", Err(BadCondition::Syntax)),
        (",", Err(BadCondition::Syntax)),
        ("1:2:3", Err(BadCondition::Syntax)),
        ("\"1:2:3", Err(BadCondition::Syntax)),
        ("\"1:2:3\" \"4:5:6\"", Err(BadCondition::Syntax)),
        ("\"1:2:3\", *", Err(BadCondition::Syntax)),
        ("w/\"1:2:3\"", Err(BadCondition::Syntax)),
    ];
    for (header, parsed) in table {
        assert_eq!(Condition::parse(header), parsed, "{header}");
    }
    let many = |count: usize| vec!["\"a\""; count].join(",");
    assert_eq!(Condition::parse(&many(CONDITION_TAGS_MAX)), Ok(Condition::Tags(vec![])));
    assert_eq!(
        Condition::parse(&many(CONDITION_TAGS_MAX + 1)),
        Err(BadCondition::TooMany)
    );
}

/// `If-None-Match` compares weakly, and exactly.
#[test]
fn a_reader_has_what_it_has() {
    let now = ETag {
        incarnation: 1,
        start: 0,
        end: 5,
        closed: false,
    };
    let has = |header: &str| Condition::parse(header).expect("legal").has(&now);
    assert!(has("*") && has("\"1:0:5\"") && has("W/\"1:0:5\"") && has("\"x\", \"1:0:5\""));
    assert!(!has("\"1:0:4\"") && !has("\"1:1:5\"") && !has("\"2:0:5\"") && !has("\"1:0:5:c\""));
}
