//! A flame graph: a bar for each function and its callers, as wide as its share of the time, above who called it.
//!
//! It is a picture that any browser shows; who rests the pointer on a bar is told its name, samples and share. Does not: zoom (the
//! stacks are there for tools that do).

use std::fmt::Write;

use lunette_hostcalls::profile::Profile;

const WIDTH: f64 = 1200.0;
const MARGIN: f64 = 10.0;
const ROW: f64 = 17.0;
/// For the title.
const TOP: f64 = 46.0;
/// A character of the font, about.
const LETTER: f64 = 7.2;
/// Narrower bars are left out: nobody sees them.
const NARROW: f64 = 0.1;

/// What is to be drawn of a place in the tree.
struct Bar {
    node: usize,
    /// Where it begins, in samples from the left.
    from: u64,
}

pub(super) fn draw(profile: &Profile, app: &str) -> String {
    let nodes = profile.nodes();
    // Callers come first, so who is called has been added up by the time its caller is looked at.
    let mut totals: Vec<u64> = nodes.iter().map(|node| node.own).collect();
    let mut called: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    let mut roots = Vec::new();
    for (number, node) in nodes.iter().enumerate().rev() {
        match node.caller {
            Some(caller) => {
                totals[caller] = totals[caller].saturating_add(totals[number]);
                called[caller].push(number);
            }
            None => roots.push(number),
        }
    }
    let all = roots.iter().fold(0_u64, |sum, root| sum.saturating_add(totals[*root]));
    let scale = (WIDTH - 2.0 * MARGIN) / all.max(1) as f64;
    let wide = |node: usize| totals[node] as f64 * scale >= NARROW;
    let deepest =
        nodes.iter().enumerate().filter(|(number, _)| wide(*number)).map(|(_, node)| node.depth).max();
    let height = TOP + (deepest.unwrap_or(0) + 1) as f64 * ROW + MARGIN;

    let mut out = String::new();
    let _ = write!(
        out,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\">\n\
         <style>text {{ font: 12px monospace; fill: #222 }} rect {{ stroke: #fff; stroke-width: .5 }} \
         g:hover rect {{ stroke: #000 }} .title {{ font-size: 15px }}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fdfdf8\"/>\n\
         <text class=\"title\" x=\"{MARGIN}\" y=\"20\">{}</text>\n\
         <text x=\"{MARGIN}\" y=\"38\">{}</text>\n",
        escaped(app),
        match all {
            0 => "no samples: no native code ran on for long enough".to_owned(),
            all => format!("{all} samples, one for each 10 ms that it ran"),
        }
    );
    let by_name = |bars: &mut Vec<usize>| bars.sort_by(|a, b| nodes[*a].name.cmp(&nodes[*b].name));
    let mut bars = Vec::new();
    let place = |bars: &mut Vec<Bar>, of: &mut Vec<usize>, mut from: u64| {
        by_name(of);
        for node in of.iter() {
            bars.push(Bar { node: *node, from });
            from = from.saturating_add(totals[*node]);
        }
    };
    place(&mut bars, &mut roots, 0);
    while let Some(Bar { node: number, from }) = bars.pop() {
        if !wide(number) {
            continue;
        }
        let (node, total) = (&nodes[number], totals[number]);
        let (x, width) = (MARGIN + from as f64 * scale, total as f64 * scale);
        let y = height - MARGIN - (node.depth + 1) as f64 * ROW;
        let name = escaped(&node.name);
        let share = total as f64 * 100.0 / all as f64;
        let (red, green, blue) = colour(&node.name);
        let _ = write!(
            out,
            "<g><title>{name}: {total} samples, {share:.1} % ({} its own)</title>\
             <rect x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{ROW}\" fill=\"rgb({red},{green},{blue})\"/>",
            node.own
        );
        if let Some(label) = label(&node.name, width) {
            let _ = write!(out, "<text x=\"{:.1}\" y=\"{}\">{}</text>", x + 3.0, y + 12.5, escaped(&label));
        }
        out.push_str("</g>\n");
        place(&mut bars, &mut called[number], from);
    }
    out.push_str("</svg>\n");
    out
}

/// As much of a name as a bar has room for; at least a few letters, or nothing.
fn label(name: &str, width: f64) -> Option<String> {
    let room = ((width - 6.0) / LETTER).max(0.0) as usize;
    if name.chars().count() <= room {
        return Some(name.to_owned());
    }
    (room >= 4).then(|| name.chars().take(room - 2).chain("..".chars()).collect())
}

/// Warm, and the same for the same name in every picture.
fn colour(name: &str) -> (u32, u32, u32) {
    let hash =
        name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (205 + hash % 50, 80 + (hash >> 8) % 140, 40 + (hash >> 16) % 40)
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bar with that name: where it begins, and how wide it is.
    #[track_caller]
    fn bar(svg: &str, name: &str) -> (f64, f64, f64) {
        let line = svg.lines().find(|line| line.starts_with(&format!("<g><title>{name}: "))).expect(name);
        let number = |key: &str| {
            let (_, rest) = line.split_once(&format!(" {key}=\"")).unwrap();
            rest.split_once('"').unwrap().0.parse::<f64>().unwrap()
        };
        (number("x"), number("y"), number("width"))
    }

    #[test]
    fn bars_are_as_wide_as_their_share_and_lie_on_their_callers() {
        let mut profile = Profile::default();
        profile.count(["app", "main", "hot"], 75);
        profile.count(["app", "main", "a & <b>"], 20);
        profile.count(["app", "main"], 5);
        let svg = draw(&profile, "app.wasm");
        assert!(svg.contains("100 samples, one for each 10 ms"), "{svg}");
        let (app, main) = (bar(&svg, "app"), bar(&svg, "main"));
        let (hot, other) = (bar(&svg, "hot"), bar(&svg, "a &amp; &lt;b&gt;"));
        assert_eq!((app.0, app.2, main.0, main.2), (10.0, 1180.0, 10.0, 1180.0));
        // By name from the left.
        assert_eq!((other.0, other.2), (10.0, 236.0));
        assert_eq!((hot.0, hot.2), (246.0, 885.0));
        assert!(app.1 > main.1 && main.1 > hot.1 && hot.1 == other.1);
        assert!(svg.contains("<title>hot: 75 samples, 75.0 % (75 its own)</title>"), "{svg}");
        assert!(svg.contains("<title>main: 100 samples, 100.0 % (5 its own)</title>"), "{svg}");
        assert_eq!(svg.matches("<g>").count(), svg.matches("</g>").count());
    }

    #[test]
    fn what_nobody_could_see_is_left_out() {
        let mut profile = Profile::default();
        profile.count(["app", "wide"], 1_000_000);
        profile.count(["app", "narrow", "upon it"], 1);
        let svg = draw(&profile, "app.wasm");
        assert!(svg.contains(">wide<") && !svg.contains("narrow") && !svg.contains("upon it"));
        assert!(draw(&Profile::default(), "x").contains("no samples"));
        let mut huge = Profile::default();
        huge.count(["a"], u64::MAX);
        huge.count(["b"], u64::MAX);
        assert!(draw(&huge, "x").ends_with("</svg>\n"));
    }

    #[test]
    fn names_are_cut_to_their_bars() {
        assert_eq!(label("compress", 100.0).as_deref(), Some("compress"));
        assert_eq!(label("compress_everything", 100.0).as_deref(), Some("compress_ev.."));
        assert_eq!((label("compress", 30.0), label("ab", 1.0)), (None, None));
    }
}
