//! The tables as text.

use crate::candidate::Candidate;
use crate::memory::Memory;
use crate::races::{Outcome, PARALLEL};
use crate::requests::Cost;
use crate::scaling::Scaling;
use crate::stats::median;
use crate::workload::{BYTES_A_SESSION, LEFT_AFTER_EXPIRY, Row};

/// Prints the allocations per request.
pub(crate) fn allocations(rows: &[(&Row, Cost)]) {
    println!("\nAllocations a request, over a layer that does nothing\n");
    heading("at most");
    for (row, cost) in rows {
        let of = |candidate: Candidate| cost.allocations[candidate.index()];
        let ceiling = row.ceiling.allocations;
        print!("{:30}", row.name);
        for candidate in Candidate::MEASURED {
            print!("{:>16}", of(candidate));
        }
        println!("{ceiling:>10}  {}", mark(of(Candidate::Sessile) <= ceiling));
    }
}

/// Prints the time per request.
pub(crate) fn times(rows: &[(&Row, Cost)]) {
    println!("\nTime a request, over a layer that does nothing, against that of tower-sessions\n");
    heading("at most");
    for (row, cost) in rows {
        let ceiling = row.ceiling.time_divisor.recip();
        print!("{:30}", row.name);
        for candidate in Candidate::MEASURED {
            let ratio = cost.time_ratio[candidate.index()];
            let nanoseconds = cost.nanoseconds[candidate.index()];
            print!("{:>16}", format!("{nanoseconds:.0} ns {ratio:.2}"));
        }
        let ratio = cost.time_ratio[Candidate::Sessile.index()];
        println!("{ceiling:>10.3}  {}", mark(ratio <= ceiling));
    }
    let noop = rows.iter().map(|(_, cost)| cost.nanoseconds[Candidate::Noop.index()]);
    println!("\nThe no-op layer's requests themselves take {:.0} ns, the median of the rows.", median(noop));
}

fn heading(last: &str) {
    candidates(&Candidate::MEASURED);
    println!("{last:>10}");
}

fn candidates(candidates: &[Candidate]) {
    print!("{:30}", "");
    for candidate in candidates {
        print!("{:>16}", candidate.name());
    }
}

/// Prints the memory use of the stores.
pub(crate) fn memory(stores: &[(Candidate, Memory)]) {
    println!("\nMemory: live heap bytes of a session of three keys, and what is left of them when all have");
    println!("expired and traffic goes on\n");
    for (candidate, memory) in stores {
        let bytes = memory.bytes_a_session;
        let left = memory.left;
        print!("{:30}{bytes:>10.0} bytes{:>10.1} % left", candidate.name(), left * 100.0);
        match candidate.keeps_expired() {
            Some(reason) => println!("  {reason}"),
            None => println!(
                "  at most {BYTES_A_SESSION:.0} bytes {}, {:.0} % {}",
                mark(bytes <= BYTES_A_SESSION),
                LEFT_AFTER_EXPIRY * 100.0,
                mark(left <= LEFT_AFTER_EXPIRY)
            ),
        }
    }
}

/// Prints the time of store operations by store size.
pub(crate) fn scaling(sizes: &[Scaling]) {
    println!("\nsessile's MemoryStore as it grows: one operation, against that at the smallest size\n");
    println!("{:>12}{:>34}{:>34}", "sessions", "on 1,000 of them: get, set", "on any of them: get, set");
    let Some(unit) = sizes.first() else { return };
    for size in sizes {
        print!("{:>12}", size.sessions);
        for (cost, unit) in [(&size.in_use, &unit.in_use), (&size.any, &unit.any)] {
            for (cost, unit) in [(cost.get, unit.get), (cost.set, unit.set)] {
                print!("{:>17}", format!("{cost:.0} ns {:.2}", cost / unit));
            }
        }
        println!();
    }
}

/// Prints the results of the races.
pub(crate) fn races(outcomes: &[(Candidate, Outcome)]) {
    let row = |name: &str, cell: fn(&Outcome) -> String| {
        print!("{name:30}");
        for (_, outcome) in outcomes {
            print!("{:>16}", cell(outcome));
        }
        println!();
    };
    println!("\nWhat survives when requests run in parallel\n");
    candidates(&Candidate::LAYERS);
    println!();
    row(&format!("{PARALLEL} set a key each: answer 200"), |of| of.keys.answered.to_string());
    row("  keys there afterwards", |of| of.keys.kept.to_string());
    row(&format!("{PARALLEL} increments: answer 200"), |of| of.increments.answered.to_string());
    row("  the counter afterwards", |of| of.increments.kept.to_string());
    row("write spans sign-out: answers", |of| of.slow_answer.as_u16().to_string());
    row("  ended session revived", |of| yes(of.revived).to_owned());
    row("invented cookie adopted", |of| yes(of.adopted).to_owned());
}

fn yes(it_is: bool) -> &'static str {
    if it_is { "yes" } else { "no" }
}

fn mark(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}
