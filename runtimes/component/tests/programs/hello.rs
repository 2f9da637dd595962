//! Says what it finds, and ends as it is told.

use std::io::{BufRead, Read, Write};

fn main() {
    let args: Vec<_> = std::env::args().collect();
    println!("hello from {}", args[0]);
    match args.get(1).map(String::as_str) {
        None => {}
        Some("env") => {
            for (key, value) in std::env::vars() {
                println!("{key}={value}");
            }
        }
        Some("lines") => {
            for line in std::io::stdin().lock().lines() {
                println!("> {}", line.unwrap());
            }
            let mut rest = Vec::new();
            println!("then {}", std::io::stdin().read_to_end(&mut rest).unwrap());
        }
        Some("exit") => std::process::exit(args[2].parse().unwrap()),
        Some("panic") => panic!("as it was told"),
        Some("sleep") => {
            let (start, date) = (std::time::Instant::now(), std::time::SystemTime::now());
            std::thread::sleep(std::time::Duration::from_millis(1500));
            println!("slept {:?} {:?}", start.elapsed(), date.elapsed().unwrap());
        }
        Some("spin") => loop {
            std::hint::black_box(0);
        },
        Some("hoard") => {
            let mut all: Vec<Vec<u8>> = Vec::new();
            loop {
                all.push(vec![1; 1 << 20]);
            }
        }
        Some("much") => {
            let mut out = std::io::stdout().lock();
            for n in 0..20_000 {
                writeln!(out, "line {n}").unwrap();
            }
            eprintln!("done");
        }
        Some(other) => panic!("what is {other}?"),
    }
}
