//! PROTOCOL-NOTES, Forks: several groups of streams that fork each other, one step at a time.
//!
//! The last test is the one that matters: attempts at forks are begun, cut off anywhere, repeated late and out of order,
//! while streams come and go. Whatever happens, a fork has its source; and when everything left over was seen to,
//! nothing is left.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const GROUPS: u32 = 3;

pub(super) fn short(done: &ForkDone) -> String {
    match done {
        ForkDone::Pledged { token } => format!("pledged {token}"),
        ForkDone::Retained { seen, earliest } => format!("retained at {seen} from {}", earliest.0),
        ForkDone::Abandoned { debt } => format!("abandoned{}", owes(debt.as_deref())),
        ForkDone::Released { debt } => format!("released{}", owes(debt.as_deref())),
        ForkDone::Confirmed => "confirmed".to_owned(),
        ForkDone::Settled => "settled".to_owned(),
        ForkDone::Deleted { debt } => format!("deleted{}", owes(Some(debt))),
    }
}

fn owes(debt: Option<&Debt>) -> String {
    debt.map(|debt| format!(", owes {} for {}", debt.pledge.source.name(), debt.token))
        .unwrap_or_default()
}

/// One group, as a state machine keeps it.
#[derive(Debug, Clone, Default, PartialEq)]
struct Group {
    index: u64,
    now_ms: u64,
    rows: BTreeMap<StreamName, StreamRow>,
    pledges: BTreeMap<u64, Pledge>,
    references: BTreeMap<(u64, Token), Reference>,
    /// The own bytes of every incarnation that is not garbage.
    bytes: BTreeMap<u64, Vec<u8>>,
}

/// All groups, and everything ever said to them.
#[derive(Debug, Clone, Default)]
struct Groups {
    groups: [Group; GROUPS as usize],
    said: Vec<Command>,
}

fn name(text: &str) -> StreamName {
    StreamName::flat(text).expect("legal")
}

fn group_index(stream: &StreamName) -> usize {
    group_of(stream, GROUPS) as usize
}

fn asked(source: &str) -> Asked {
    Asked {
        source: name(source),
        offset: None,
        sub: 0,
        content_type: None,
        closed: false,
        if_match: None,
        lifetime: None,
        retention: Retention::default(),
        retention_default: Retention::default(),
    }
}

fn on(stream: &str, op: Op) -> Command {
    Command {
        stream: name(stream),
        ..command(op)
    }
}

fn op(stream: &StreamName, op: ForkOp) -> Command {
    Command {
        stream: stream.clone(),
        ..command(Op::Fork(op))
    }
}

impl Group {
    fn tell(&mut self, command: &Command) -> Outcome {
        let fork = command.fork();
        let loaded = Loaded {
            row: self.rows.get(&command.stream),
            claim: None,
            pledge: fork.and_then(ForkOp::pledge).and_then(|token| self.pledges.get(&token)),
            reference: fork
                .and_then(ForkOp::reference)
                .and_then(|key| self.references.get(&key)),
            ..Loaded::default()
        };
        self.index += 1;
        let moment = Moment {
            index: self.index,
            last_now_ms: self.now_ms,
        };
        let transition = apply(loaded, command, moment);
        self.now_ms = transition.now_ms;
        match transition.row {
            RowChange::Keep => {}
            RowChange::Put(row) => drop(self.rows.insert(command.stream.clone(), row)),
            RowChange::Delete => drop(self.rows.remove(&command.stream)),
        }
        if let Some(stored) = transition.stored {
            self.bytes.entry(stored.incarnation).or_default().extend(&command.body);
        }
        if let Some(dropped) = transition.dropped {
            self.bytes.remove(&dropped);
            assert!(
                !self.references.keys().any(|(incarnation, _)| *incarnation == dropped)
                    || matches!(fork, Some(ForkOp::Release { .. })),
                "what has references does not go"
            );
        }
        for change in transition.forks {
            match change {
                ForkChange::Pledge(token, Some(pledge)) => drop(self.pledges.insert(token, pledge)),
                ForkChange::Pledge(token, None) => drop(self.pledges.remove(&token)),
                ForkChange::Reference(incarnation, token, Some(reference)) => {
                    self.references.insert((incarnation, token), reference);
                }
                ForkChange::Reference(incarnation, token, None) => drop(self.references.remove(&(incarnation, token))),
            }
        }
        transition.outcome
    }
}

impl Groups {
    fn tell(&mut self, command: Command) -> Outcome {
        let outcome = self.groups[group_index(&command.stream)].tell(&command);
        self.said.push(command);
        self.check();
        outcome
    }

    fn row(&self, stream: &StreamName) -> Option<&StreamRow> {
        self.groups[group_index(stream)].rows.get(stream)
    }

    /// What a reader sees; nothing if there is no such stream.
    fn text(&self, stream: &StreamName) -> Option<String> {
        let row = self.row(stream)?;
        Some(String::from_utf8(self.bytes(stream, row, row.tail)).expect("tests write text"))
    }

    /// The bytes of a stream, up to `to`; those forgotten included.
    fn bytes(&self, stream: &StreamName, row: &StreamRow, to: Offset) -> Vec<u8> {
        let own = self.groups[group_index(stream)].bytes.get(&row.incarnation);
        let own = own.map_or(&[][..], Vec::as_slice);
        let Some(base) = &row.base else {
            return own[..to.0 as usize].to_vec();
        };
        let source = self.row(&base.source).expect("a fork has its source");
        let mut bytes = self.bytes(&base.source, source, base.offset.min(to));
        bytes.extend(&own[..to.0.saturating_sub(base.offset.0) as usize]);
        bytes
    }

    /// What holds after every step.
    fn check(&self) {
        for (number, group) in self.groups.iter().enumerate() {
            for (stream, row) in &group.rows {
                let references = group.references.keys().filter(|(of, _)| *of == row.incarnation);
                assert_eq!(references.count(), row.refs as usize, "references of {stream}");
                assert!(!row.gone || row.refs > 0, "{stream} is kept for nobody");
                let Some(base) = &row.base else { continue };
                let token = Token {
                    group: number as u32,
                    index: base.token,
                };
                let source = self.row(&base.source).expect("a fork has its source");
                assert_eq!(source.incarnation, base.incarnation, "the source of {stream}");
                let references = &self.groups[group_index(&base.source)].references;
                let reference = references
                    .get(&(base.incarnation, token))
                    .expect("a fork has its reference");
                assert_eq!(reference.seen, base.seen);
                assert!(base.offset <= row.tail && row.earliest <= row.tail);
            }
            let alive = |of: &u64| group.rows.values().any(|row| row.incarnation == *of);
            assert!(
                group.references.keys().all(|(of, _)| alive(of)),
                "a reference to what is not there"
            );
        }
    }

    /// All that a coordinator does, or the answer of the step that ended it.
    fn fork(&mut self, fork: &str, asked: &Asked, body: &str) -> Outcome {
        let fork = name(fork);
        let mut attempt = match Attempt::begin(self, &fork, asked, body) {
            Ok(attempt) => attempt,
            Err(outcome) => return outcome,
        };
        loop {
            if let Some(outcome) = attempt.step(self) {
                return outcome;
            }
        }
    }

    fn delete(&mut self, stream: &str) -> Outcome {
        self.tell(on(stream, Op::Delete(Delete { if_match: None })))
    }

    fn append(&mut self, stream: &str, body: &str) -> Outcome {
        let Op::Append(append) = append(body).op else {
            unreachable!()
        };
        self.tell(on(stream, Op::Append(append)).body(body))
    }

    fn pay(&mut self, debt: Debt) {
        let mut owed = Some(debt);
        while let Some(Debt { token, pledge }) = owed.take() {
            let group = group_of(&pledge.fork, GROUPS);
            let release = ForkOp::Release {
                token: Token { group, index: token },
                incarnation: pledge.incarnation,
            };
            if let Outcome::Fork(ForkDone::Released { debt }) = self.tell(op(&pledge.source, release)) {
                owed = debt.map(|debt| *debt);
            }
            self.tell(op(&pledge.fork, ForkOp::Settle { token }));
        }
    }

    /// What is left over is worked off, until nothing is.
    fn calm(&mut self) {
        for _ in 0..100 {
            let before = self.groups.clone();
            for number in 0..GROUPS as usize {
                for (token, pledge) in self.groups[number].pledges.clone() {
                    let abandoned = self.tell(op(&pledge.fork, ForkOp::Abandon { token }));
                    if let Outcome::Fork(ForkDone::Abandoned { debt: Some(debt) }) = abandoned {
                        self.pay(*debt);
                    }
                }
                for ((incarnation, token), reference) in self.groups[number].references.clone() {
                    if !reference.confirmed {
                        self.look_into(incarnation, token, &reference);
                    }
                }
            }
            let same = |(one, other): (&Group, &Group)| {
                (&one.rows, &one.pledges, &one.references) == (&other.rows, &other.pledges, &other.references)
            };
            if self.groups.iter().zip(&before).all(same) {
                return;
            }
        }
        panic!("it never comes to an end");
    }

    fn look_into(&mut self, incarnation: u64, token: Token, reference: &Reference) {
        let group = &self.groups[token.group as usize];
        if group.pledges.get(&token.index).is_some_and(|pledge| !pledge.owing) {
            return;
        }
        let born = group
            .rows
            .get(&reference.fork)
            .is_some_and(|row| row.is_based_on(token.index));
        let seen = reference.seen;
        let next = if born {
            ForkOp::Confirm {
                token,
                incarnation,
                seen,
            }
        } else {
            ForkOp::Release { token, incarnation }
        };
        if let Outcome::Fork(ForkDone::Released { debt: Some(debt) }) = self.tell(op(&reference.source, next)) {
            self.pay(*debt);
        }
    }

    /// What holds when nothing is left over.
    fn nothing_leaks(&self) {
        let forks: usize = self
            .groups
            .iter()
            .flat_map(|group| group.rows.values())
            .filter(|row| row.base.is_some())
            .count();
        let references: usize = self.groups.iter().map(|group| group.references.len()).sum();
        assert_eq!(references, forks);
        for group in &self.groups {
            assert_eq!(group.pledges, BTreeMap::new());
            assert!(group.references.values().all(|reference| reference.confirmed));
            let living: Vec<u64> = group.rows.values().map(|row| row.incarnation).collect();
            assert!(group.bytes.keys().all(|incarnation| living.contains(incarnation)));
        }
    }
}

/// An attempt at a fork, as far as it has come.
#[derive(Debug, Clone)]
struct Attempt {
    fork: StreamName,
    asked: Asked,
    body: String,
    source: StreamRow,
    offset: Offset,
    token: Option<u64>,
    retained: Option<(u64, Offset)>,
}

impl Attempt {
    fn begin(groups: &Groups, fork: &StreamName, asked: &Asked, body: &str) -> Result<Self, Outcome> {
        let refused = |refusal: ForkRefusal| Outcome::Refused(refusal.into());
        let source = groups.row(&asked.source).ok_or(refused(ForkRefusal::NoSource))?;
        let offset = asked.offset.unwrap_or(source.tail);
        source.may_be_forked_at(offset).map_err(refused)?;
        Ok(Self {
            fork: fork.clone(),
            asked: asked.clone(),
            body: body.to_owned(),
            source: source.clone(),
            offset,
            token: None,
            retained: None,
        })
    }

    /// The next step; the answer, if it was the last one.
    fn step(&mut self, groups: &mut Groups) -> Option<Outcome> {
        let incarnation = self.source.incarnation;
        let Some(index) = self.token else {
            let pledging = Pledging {
                asked: self.asked.clone(),
                incarnation,
            };
            return match groups.tell(op(&self.fork, ForkOp::Pledge(Box::new(pledging)))) {
                Outcome::Fork(ForkDone::Pledged { token }) => {
                    self.token = Some(token);
                    None
                }
                other => Some(other),
            };
        };
        let group = group_of(&self.fork, GROUPS);
        let token = Token { group, index };
        let Some((seen, earliest)) = self.retained else {
            let retaining = Retaining {
                token,
                fork: self.fork.clone(),
                incarnation,
                offset: self.offset,
            };
            return match groups.tell(op(&self.asked.source, ForkOp::Retain(Box::new(retaining)))) {
                Outcome::Fork(ForkDone::Retained { seen, earliest }) => {
                    self.retained = Some((seen, earliest));
                    None
                }
                other => Some(other),
            };
        };
        let base = Base {
            source: self.asked.source.clone(),
            incarnation,
            offset: self.offset,
            anchor: self.offset,
            sub: 0,
            token: index,
            seen,
            depth: self.source.depth() + 1,
            own_lifetime: self.asked.lifetime.is_some(),
        };
        let bearing = Bearing {
            asked: self.asked.clone(),
            base,
            earliest,
            content_type: self.source.content_type.clone(),
            lifetime: self.asked.lifetime.unwrap_or(self.source.lifetime),
            as_of: 0,
        };
        Some(groups.tell(op(&self.fork, ForkOp::Bear(Box::new(bearing))).body(&self.body)))
    }
}

/// `a`, which holds `0123456789`.
fn ten() -> Groups {
    let mut groups = Groups::default();
    let Op::Create(create) = create("text/plain").op else {
        unreachable!()
    };
    groups.tell(on("a", Op::Create(create)).body("0123456789"));
    groups
}

#[test]
fn a_fork_begins_as_its_source_was_and_goes_its_own_way() {
    let mut groups = ten();
    let at = |offset| Asked {
        offset: Some(Offset(offset)),
        ..asked("a")
    };
    assert_eq!(short_of(groups.fork("b", &at(4), "xy")), "created 6");
    groups.append("a", "later");
    groups.append("b", "z");
    assert_eq!(groups.text(&name("b")).unwrap(), "0123xyz");
    assert_eq!(groups.text(&name("a")).unwrap(), "0123456789later");
    // A fork of the fork, in what it inherited and in what is its own.
    let of_b = |offset| Asked {
        offset: Some(Offset(offset)),
        ..asked("b")
    };
    assert_eq!(short_of(groups.fork("c", &of_b(2), "")), "created 2");
    assert_eq!(short_of(groups.fork("d", &of_b(5), "!")), "created 6");
    assert_eq!(groups.text(&name("c")).unwrap(), "01");
    assert_eq!(groups.text(&name("d")).unwrap(), "0123x!");
    assert_eq!(groups.row(&name("d")).unwrap().depth(), 2);
}

fn short_of(outcome: Outcome) -> String {
    super::short(&outcome)
}

#[test]
fn what_cannot_be_forked_is_refused() {
    let mut groups = ten();
    let at = |offset| Asked {
        offset: Some(Offset(offset)),
        ..asked("a")
    };
    assert_eq!(short_of(groups.fork("b", &asked("none"), "")), "refused: NoSource");
    assert_eq!(
        short_of(groups.fork("b", &at(11), "")),
        "refused: BeyondTail { tail: Offset(10) }"
    );
    let below = Offset(4);
    groups.tell(on("a", Op::Trim(Trim { incarnation: 1, below })));
    assert_eq!(
        short_of(groups.fork("b", &at(3), "")),
        "refused: Trimmed { earliest: Offset(4) }"
    );
    assert_eq!(short_of(groups.fork("b", &at(4), "")), "created 4");
    groups.delete("a");
    assert_eq!(short_of(groups.fork("c", &at(4), "")), "refused: SourceGone");
    assert_eq!(
        groups.groups.iter().map(|group| group.references.len()).sum::<usize>(),
        1
    );
}

#[test]
fn a_put_of_the_same_fork_is_no_conflict_and_of_another_is() {
    let mut groups = ten();
    let at = Asked {
        offset: Some(Offset(4)),
        lifetime: Some(Lifetime::Window { ms: 100_000 }),
        ..asked("a")
    };
    assert_eq!(short_of(groups.fork("b", &at, "")), "created 4");
    let table = [
        (at.clone(), "exists 4"),
        (
            Asked {
                offset: None,
                ..at.clone()
            },
            "exists 4",
        ),
        (
            Asked {
                content_type: Some("TEXT/plain".into()),
                ..at.clone()
            },
            "exists 4",
        ),
        (
            Asked {
                content_type: Some("a/b".into()),
                ..at.clone()
            },
            "refused: conflict",
        ),
        (Asked { sub: 1, ..at.clone() }, "refused: conflict"),
        (
            Asked {
                offset: Some(Offset(5)),
                ..at.clone()
            },
            "refused: conflict",
        ),
        (
            Asked {
                closed: true,
                ..at.clone()
            },
            "refused: conflict",
        ),
        (
            Asked {
                lifetime: None,
                ..at.clone()
            },
            "refused: conflict",
        ),
    ];
    for (asked, answer) in table {
        assert_eq!(short_of(groups.fork("b", &asked, "")), answer, "{asked:?}");
    }
    let Op::Create(plain) = create("text/plain").op else {
        unreachable!()
    };
    assert_eq!(short_of(groups.tell(on("b", Op::Create(plain)))), "refused: conflict");
    assert_eq!(short_of(groups.fork("a", &asked("b"), "")), "refused: conflict");
}

#[test]
fn a_source_is_kept_for_its_forks_and_goes_with_the_last_one_and_so_do_its_own() {
    let mut groups = ten();
    groups.fork("b", &asked("a"), "b");
    groups.fork("c", &asked("b"), "c");
    assert_eq!(short_of(groups.delete("a")), "deleted");
    assert_eq!(short_of(groups.delete("b")), "deleted");
    let Op::Create(create) = create("text/plain").op else {
        unreachable!()
    };
    assert_eq!(short_of(groups.tell(on("a", Op::Create(create)))), "refused: gone");
    assert_eq!(short_of(groups.append("b", "x")), "refused: gone");
    assert_eq!(short_of(groups.delete("a")), "refused: gone");
    assert_eq!(groups.text(&name("c")).unwrap(), "0123456789bc");
    let Outcome::Fork(ForkDone::Deleted { debt }) = groups.delete("c") else {
        panic!("a fork owes when it goes");
    };
    groups.pay(*debt);
    assert!(groups.groups.iter().all(|group| group.rows.is_empty()));
    groups.nothing_leaks();
}

#[test]
fn a_source_that_is_over_is_kept_for_its_forks_too() {
    let mut groups = Groups::default();
    let made = create("text/plain").living(Lifetime::Window { ms: 1_600 }).body("abc");
    groups.tell(Command {
        stream: name("a"),
        ..made
    });
    groups.fork(
        "b",
        &Asked {
            lifetime: Some(Lifetime::Forever),
            ..asked("a")
        },
        "",
    );
    groups.fork("c", &asked("a"), "");
    let late = |stream: &str| Command {
        now_ms: 9_000,
        ..on(stream, Op::Tend)
    };
    assert_eq!(short_of(groups.tell(late("a"))), "refused: gone");
    assert_eq!(groups.text(&name("b")).unwrap(), "abc");
    // The one took over the window of its source, the other has one of its own.
    groups.tell(late("c"));
    assert!(groups.row(&name("c")).is_none());
    assert_eq!(short_of(groups.tell(late("b"))), "alive 3 since 1000");
    groups.calm();
    groups.nothing_leaks();
    assert_eq!(groups.row(&name("a")).unwrap().refs, 1);
}

#[test]
fn what_a_fork_may_need_is_not_forgotten_by_its_source() {
    let mut groups = ten();
    groups.fork("b", &asked("a"), "");
    let below = Offset(8);
    groups.tell(on("a", Op::Trim(Trim { incarnation: 1, below })));
    assert_eq!(groups.row(&name("a")).unwrap().earliest, Offset(8));
    assert_eq!(groups.row(&name("b")).unwrap().earliest, Offset(0));
    assert_eq!(groups.text(&name("b")).unwrap(), "0123456789");
}

#[test]
fn a_step_that_comes_too_late_does_nothing_that_stays() {
    let mut groups = ten();
    let mut attempt = Attempt::begin(&groups, &name("b"), &asked("a"), "x").expect("lawful");
    attempt.step(&mut groups);
    let token = attempt.token.expect("pledged");
    groups.calm();
    // The reference is taken only now, and the fork is to be made after all.
    assert_eq!(attempt.step(&mut groups), None);
    assert_eq!(attempt.step(&mut groups).map(short_of).unwrap(), "refused: TooLate");
    assert_eq!(groups.row(&name("a")).unwrap().refs, 1);
    groups.calm();
    groups.nothing_leaks();
    // A confirmation from when the fork was there does not confirm a reference that came after it had gone.
    assert_eq!(short_of(groups.fork("b", &asked("a"), "")), "created 10");
    let said = groups.said.clone();
    let retain = said
        .iter()
        .rfind(|said| matches!(said.op, Op::Fork(ForkOp::Retain(_))))
        .cloned();
    let index = groups.row(&name("b")).unwrap().base.as_ref().unwrap().token;
    let seen = groups.row(&name("b")).unwrap().base.as_ref().unwrap().seen;
    let Outcome::Fork(ForkDone::Deleted { debt }) = groups.delete("b") else {
        panic!()
    };
    groups.pay(*debt);
    groups.tell(retain.expect("there was one"));
    let group = group_of(&name("b"), GROUPS);
    let token_of_b = Token { group, index };
    assert_ne!(token, index);
    let confirm = ForkOp::Confirm {
        token: token_of_b,
        incarnation: 1,
        seen,
    };
    groups.tell(op(&name("a"), confirm));
    groups.calm();
    groups.nothing_leaks();
    assert_eq!(groups.row(&name("a")).unwrap().refs, 0);
}

/// What may happen next.
#[derive(Debug, Clone)]
enum Event {
    Create(u8),
    Append(u8),
    Delete(u8),
    /// Delete, and pay what is owed at once.
    DeleteAndPay(u8),
    Begin(u8, u8, u64),
    Step(usize),
    Forget(usize),
    /// Something said long ago arrives once more.
    Again(usize),
    Calm,
    Tend(u8, u64),
}

fn any_event() -> impl Strategy<Value = Event> {
    let stream = 0..4_u8;
    prop_oneof![
        2 => stream.clone().prop_map(Event::Create),
        2 => stream.clone().prop_map(Event::Append),
        2 => stream.clone().prop_map(Event::Delete),
        1 => stream.clone().prop_map(Event::DeleteAndPay),
        4 => (stream.clone(), stream.clone(), 0..6_u64).prop_map(|(fork, source, offset)| Event::Begin(fork, source, offset)),
        12 => any::<usize>().prop_map(Event::Step),
        1 => any::<usize>().prop_map(Event::Forget),
        4 => any::<usize>().prop_map(Event::Again),
        1 => Just(Event::Calm),
        1 => (stream, 0..3_u64).prop_map(|(stream, late)| Event::Tend(stream, late)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_leaks_and_every_fork_has_its_source_whatever_is_cut_off_and_repeated(
        events in prop::collection::vec(any_event(), 0..120),
    ) {
        let stream = |number: u8| format!("s{number}");
        let mut groups = Groups::default();
        let mut attempts: Vec<Attempt> = Vec::new();
        for (number, event) in events.into_iter().enumerate() {
            match event {
                Event::Create(to) => {
                    let made = create("text/plain").living(Lifetime::Until { ms: 5_000 }).body("ab");
                    let made = if number % 3 == 0 { made } else { made.living(Lifetime::Forever) };
                    groups.tell(Command { stream: name(&stream(to)), ..made });
                }
                Event::Append(to) => drop(groups.append(&stream(to), "cd")),
                Event::Delete(of) => drop(groups.delete(&stream(of))),
                Event::DeleteAndPay(of) => {
                    if let Outcome::Fork(ForkDone::Deleted { debt }) = groups.delete(&stream(of)) {
                        groups.pay(*debt);
                    }
                }
                Event::Begin(fork, source, offset) => {
                    let asked = Asked { offset: (offset > 0).then(|| Offset(offset - 1)), ..asked(&stream(source)) };
                    attempts.extend(Attempt::begin(&groups, &name(&stream(fork)), &asked, "x"));
                }
                Event::Step(which) if !attempts.is_empty() => {
                    let which = which % attempts.len();
                    if attempts[which].step(&mut groups).is_some() {
                        attempts.remove(which);
                    }
                }
                Event::Forget(which) if !attempts.is_empty() => drop(attempts.remove(which % attempts.len())),
                Event::Again(which) if !groups.said.is_empty() => {
                    let again = groups.said[which % groups.said.len()].clone();
                    if matches!(again.op, Op::Fork(_)) {
                        groups.tell(again);
                    }
                }
                Event::Calm => groups.calm(),
                Event::Tend(of, late) => {
                    let now_ms = 1_000 + late * 3_000;
                    groups.tell(Command { now_ms, ..on(&stream(of), Op::Tend) });
                }
                Event::Step(_) | Event::Forget(_) | Event::Again(_) => {}
            }
        }
        groups.calm();
        groups.nothing_leaks();
        for number in 0..4 {
            groups.text(&name(&stream(number)));
        }
    }
}
