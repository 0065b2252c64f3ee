//! The rhythm of most nemeses: a calm, a hurt, some time of harm, the mend; and again.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use rand::{Rng, RngExt};
use sim::fault::{Fault, Whom};

use super::{Blow, Nemesis, millis};

/// Hurts in one of several ways, and mends what it hurt.
#[derive(Clone, Debug)]
pub struct HurtAndMend {
    /// One of these, by the dice.
    pub hurts: Vec<Fault>,
    /// How long everything is whole between a mend and the next hurt.
    pub calm: Range<Duration>,
    /// How long the harm lasts. Longer than an election, or nobody is replaced and little is tested.
    pub harm: Range<Duration>,
    /// What is still to be mended; the first of them after the harm, the others at once.
    mends: VecDeque<Fault>,
    hurting: bool,
}

/// With the usual rhythm; see the fields for another.
#[must_use]
pub fn hurt_and_mend(hurts: impl Into<Vec<Fault>>) -> HurtAndMend {
    HurtAndMend {
        hurts: hurts.into(),
        calm: millis(1000)..millis(4000),
        harm: millis(500)..millis(4000),
        mends: VecDeque::new(),
        hurting: false,
    }
}

impl HurtAndMend {
    /// Another time between mend and hurt, in milliseconds.
    #[must_use]
    pub fn calm_ms(self, range: Range<u64>) -> Self {
        Self {
            calm: millis(range.start)..millis(range.end),
            ..self
        }
    }

    /// Another time between hurt and mend, in milliseconds.
    #[must_use]
    pub fn harm_ms(self, range: Range<u64>) -> Self {
        Self {
            harm: millis(range.start)..millis(range.end),
            ..self
        }
    }
}

impl Nemesis for HurtAndMend {
    fn next(&mut self, dice: &mut dyn Rng) -> Option<Blow> {
        if let Some(fault) = self.mends.pop_front() {
            let hurting = std::mem::replace(&mut self.hurting, false);
            let after = if hurting {
                throw(dice, &self.harm)
            } else {
                Duration::ZERO
            };
            return Some(Blow { after, fault });
        }
        if self.hurts.is_empty() {
            return None;
        }
        let fault = self.hurts[dice.random_range(0..self.hurts.len())].clone();
        (self.mends, self.hurting) = (mends(&fault).into(), true);
        Some(Blow {
            after: throw(dice, &self.calm),
            fault,
        })
    }
}

pub(super) fn throw(dice: &mut dyn Rng, range: &Range<Duration>) -> Duration {
    let (least, most) = (range.start.as_micros() as u64, range.end.as_micros() as u64);
    Duration::from_micros(if least < most {
        dice.random_range(least..most)
    } else {
        least
    })
}

/// What makes whole again what this breaks. Roles are gone by then (who led does not lead any more), so everyone is
/// mended; what is whole stays as it is.
fn mends(hurt: &Fault) -> Vec<Fault> {
    let everyone = Whom::Everyone;
    match hurt {
        Fault::Crash(_) | Fault::PowerLoss(_) | Fault::Stop(_) => vec![Fault::Restart(everyone)],
        Fault::Freeze(_) => vec![Fault::Thaw(everyone)],
        Fault::Isolate(_)
        | Fault::CutOff(_)
        | Fault::Split(_)
        | Fault::OneWay { .. }
        | Fault::Clog { .. }
        | Fault::SlowLink { .. }
        | Fault::LossyLink { .. }
        | Fault::Mute(_) => vec![Fault::Heal],
        // A node whose disk fails ends itself.
        Fault::SlowDisk { .. }
        | Fault::FullDisk(_)
        | Fault::FailSync { .. }
        | Fault::FlipBitOnRead(_)
        | Fault::RotBit(_)
        | Fault::SlowIndexFlush { .. } => vec![Fault::MendDisk(everyone.clone()), Fault::Restart(everyone)],
        Fault::ClockSkew { .. } | Fault::ClockDrift { .. } | Fault::ClockJump { .. } => {
            vec![Fault::MendClock(everyone)]
        }
        Fault::ColdOut | Fault::SlowCold { .. } | Fault::ColdFails { .. } | Fault::ColdLies { .. } => {
            vec![Fault::MendCold]
        }
        // Over as soon as it is struck, or a mend itself.
        Fault::ResetConnections(_)
        | Fault::Restart(_)
        | Fault::Thaw(_)
        | Fault::Heal
        | Fault::MendDisk(_)
        | Fault::MendClock(_)
        | Fault::MendCold
        | Fault::Mend => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use net::dice::Dice;

    #[test]
    fn every_hurt_is_followed_by_its_mend_after_the_harm() {
        let mut nemesis = hurt_and_mend([Fault::FullDisk(Whom::Anyone)])
            .calm_ms(10..20)
            .harm_ms(100..200);
        let mut dice = Dice::from_seed(1).stream("test");
        for _ in 0..3 {
            let blows: Vec<Blow> = (0..3).filter_map(|_| nemesis.next(&mut dice)).collect();
            assert_eq!(blows[0].fault, Fault::FullDisk(Whom::Anyone));
            assert!((millis(10)..millis(20)).contains(&blows[0].after));
            assert_eq!(blows[1].fault, Fault::MendDisk(Whom::Everyone));
            assert!((millis(100)..millis(200)).contains(&blows[1].after));
            assert_eq!(
                blows[2],
                Blow {
                    after: Duration::ZERO,
                    fault: Fault::Restart(Whom::Everyone)
                }
            );
        }
    }

    #[test]
    fn the_same_dice_strike_the_same_blows() {
        let blows = || {
            let mut nemesis = hurt_and_mend([Fault::Crash(Whom::Anyone), Fault::Freeze(Whom::LeaderOf(0))]);
            let mut dice = Dice::from_seed(7).stream("test");
            (0..20).map(|_| nemesis.next(&mut dice)).collect::<Vec<_>>()
        };
        assert_eq!(blows(), blows());
    }
}
