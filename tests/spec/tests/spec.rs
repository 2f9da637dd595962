//! The whole of it, on a laptop.

use lunette_spec::{Totals, run_spec};

#[test]
fn the_specification_s_tests_pass() {
    let mut failures = Vec::new();
    let totals = run_spec(&mut |outcome| {
        if let Some((assertions, why)) = &outcome.skipped {
            println!("skipped {:50} {assertions:6} assertions: {why}", outcome.name);
        }
        for failure in &outcome.failed {
            failures.push(format!("{}:{}: {}", outcome.name, failure.line, failure.words));
        }
    });
    println!("{totals:?}");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    // The numbers of this version of the suite and this set of features, so that nothing goes missing quietly.
    assert_eq!(
        totals,
        Totals {
            files: 611,
            files_skipped: 183,
            passed: 103_786,
            failed: 0,
            superseded: 63,
            skipped: 32_403
        }
    );
}
