//! The same seed in two fresh processes: the traces must be the same to the byte.

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

use scenarios::exploratory;

pub(crate) fn twice(name: &str, seed: u64) -> ExitCode {
    if exploratory::by_name(name, seed).is_none() {
        return super::no_such(name);
    }
    let start = || {
        let program = std::env::current_exe()?;
        let arguments = ["run", name, "--trace", "--seed", &seed.to_string()];
        Command::new(program)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
    };
    let (mut one, mut other) = match (start(), start()) {
        (Ok(one), Ok(other)) => (one, other),
        (Err(error), _) | (_, Err(error)) => return super::refuse(&format!("no process can be started: {error}")),
    };
    let lines = |child: &mut std::process::Child| child.stdout.take().map(|out| BufReader::new(out).lines());
    let (Some(mut ones), Some(mut others)) = (lines(&mut one), lines(&mut other)) else {
        return super::refuse("the traces cannot be read");
    };
    let (mut same, mut events) = (0_u64, 0_u64);
    let verdict = loop {
        let (line, against) = (ones.next().and_then(Result::ok), others.next().and_then(Result::ok));
        match (line, against) {
            (None, None) => break None,
            (Some(line), Some(against)) if line == against => {
                same += 1;
                events += u64::from(is_event(&line));
            }
            (line, against) => break Some((line.unwrap_or("(end)".into()), against.unwrap_or("(end)".into()))),
        }
    };
    if verdict.is_some() {
        for child in [&mut one, &mut other] {
            // It may have ended already.
            let _ = child.kill();
        }
    }
    let ends = [one.wait(), other.wait()];
    match verdict {
        None => {
            // Two that die of the same panic, or say nothing at all, are the same, too.
            for end in ends {
                match end.map(|status| status.code()) {
                    Ok(Some(0 | 1)) => {}
                    Ok(code) => return super::refuse(&format!("{name} seed {seed}: a process ended with {code:?}")),
                    Err(error) => return super::refuse(&format!("a process cannot be waited for: {error}")),
                }
            }
            if events == 0 {
                return super::refuse(&format!("{name} seed {seed}: nothing happened in {same} lines"));
            }
            println!("  {name} seed {seed}: {same} lines, twice the same");
            ExitCode::SUCCESS
        }
        Some((line, against)) => {
            println!("  {name} seed {seed}: the same for {same} lines, then\n    {line}\n    {against}");
            ExitCode::FAILURE
        }
    }
}

/// Whether a line is one of the trace, which begins with the moment, and not of the report below it.
fn is_event(line: &str) -> bool {
    let moment = line
        .trim_start()
        .split(' ')
        .next()
        .and_then(|moment| moment.split_once('.'));
    moment.is_some_and(|(s, ns)| s.parse::<u64>().is_ok() && ns.len() == 9 && ns.parse::<u64>().is_ok())
}
