//! Five bodies that pull each other, step by step: floating-point numbers with divisions and roots.

use crate::fold;

#[derive(Clone, Copy)]
struct Body {
    at: [f64; 3],
    speed: [f64; 3],
    mass: f64,
}

pub(crate) fn run(steps: u32) -> u64 {
    // A heavy one in the middle, and four on their way around it.
    let mut bodies = [Body { at: [0.0; 3], speed: [0.0; 3], mass: 40.0 }; 5];
    for (n, body) in (1u8..).zip(&mut bodies[1..]) {
        let n = f64::from(n);
        *body = Body {
            at: [n * 3.0, n * 0.5, -n * 0.25],
            speed: [0.0, (40.0 / (n * 3.1)).sqrt(), 0.1],
            mass: n * 0.01,
        };
    }
    for _ in 0..steps {
        step(&mut bodies, 0.001);
    }
    bodies.iter().flat_map(|body| body.at).fold(0, |sum, at| fold(sum, &at.to_bits().to_le_bytes()))
}

fn step(bodies: &mut [Body; 5], time: f64) {
    for one in 0..bodies.len() {
        let (before, after) = bodies.split_at_mut(one + 1);
        let one = &mut before[one];
        for other in after {
            let apart: [f64; 3] = std::array::from_fn(|axis| one.at[axis] - other.at[axis]);
            let square: f64 = apart.iter().map(|apart| apart * apart).sum();
            let pull = time / (square * square.sqrt());
            for axis in 0..3 {
                one.speed[axis] -= apart[axis] * other.mass * pull;
                other.speed[axis] += apart[axis] * one.mass * pull;
            }
        }
    }
    for body in bodies {
        for axis in 0..3 {
            body.at[axis] += time * body.speed[axis];
        }
    }
}
