//! A document of objects, lists, numbers and escaped strings: read, looked at, and written again.

use serde_json::{Value, json};

use crate::{Numbers, fold};

pub(crate) fn run(rounds: u32) -> u64 {
    let mut numbers = Numbers::new(7);
    let people: Vec<Value> = (0..300)
        .map(|id| {
            json!({
                "id": id,
                "name": format!("Name \"{}\" \u{e9}\t{}", numbers.below(1000), numbers.next()),
                "balance": numbers.below(1_000_000) as f64 / 64.0,
                "tags": (0..numbers.below(6)).map(|_| format!("tag{}", numbers.below(50))).collect::<Vec<_>>(),
                "address": { "street": "On the Hill", "number": numbers.below(200), "floor": null },
                "active": id % 3 == 0,
            })
        })
        .collect();
    let mut text = json!({ "people": people }).to_string();
    let mut sum = 0;
    for round in 0..rounds {
        let mut document: Value = serde_json::from_str(&text).expect("what was written can be read");
        let people = document["people"].as_array_mut().expect("a list");
        let at = round as usize % people.len();
        let person = people[at].as_object_mut().expect("an object");
        person.insert("seen".into(), round.into());
        let balance: f64 = people.iter().filter_map(|person| person["balance"].as_f64()).sum();
        text = document.to_string();
        sum = fold(sum, &balance.to_bits().to_le_bytes());
    }
    fold(sum, text.as_bytes())
}
