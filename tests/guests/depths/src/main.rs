//! Ends badly, three functions down: the backtrace has to show them all, with these lines. Its argument says how.

mod third;

fn main() {
    let how = std::env::args().nth(1).unwrap_or_else(|| "trap".into());
    println!("going down: {how}");
    first(&how);
}

#[inline(never)]
fn first(how: &str) {
    second(how);
    // Something has to be left to do, or the calls would be jumps.
    println!("back in the first");
}

#[inline(never)]
fn second(how: &str) {
    third::third(how);
    println!("back in the second");
}
