mod world;
#[test]
fn zz() {
    let t = format!(
        "arg = {{ [0] = '/work/wt/compat/tests/lua/main.lua' }} {}",
        std::fs::read_to_string("/work/wt/compat/tests/lua/main.lua").unwrap()
    );
    std::thread::Builder::new()
        .stack_size(8 << 20)
        .spawn(move || {
            let mut s = world::Stage::new();
            s.limits.memory = 512 << 20;
            let r = s.run(&t);
            println!("{}\n{}\n{:?}", r.out, r.err, r.ending)
        })
        .unwrap()
        .join()
        .unwrap();
}
