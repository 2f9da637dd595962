//! The kernel command line: `lunette.KEY` or `lunette.KEY=VALUE`, separated by spaces. What is not ours is
//! left to others without a word: hypervisors append their own.

/// A borrowed command line, read where it is needed.
#[derive(Clone, Copy, Default)]
pub struct Cmdline<'a> {
    line: &'a [u8],
    /// What follows `lunette.` in our words, in their order, as far as there is room: a dozen keys are asked for at
    /// every boot.
    ours: [&'a [u8]; ROOM],
    /// How many words are ours.
    count: usize,
}

/// Twice as many as a machine has. With more the line is read again for each question.
const ROOM: usize = 24;

impl<'a> Cmdline<'a> {
    pub fn new(line: &'a [u8]) -> Self {
        let mut ours = [&line[..0]; ROOM];
        let mut count = 0;
        for word in words_of_ours(line) {
            if let Some(place) = ours.get_mut(count) {
                *place = word;
            }
            count += 1;
        }
        Self { line, ours, count }
    }

    /// The value of `lunette.KEY=VALUE`; the last one counts. `Some("")` for a bare `lunette.KEY`.
    pub fn get(&self, key: &str) -> Option<&'a str> {
        let value = |word: &'a [u8]| match word.strip_prefix(key.as_bytes())?.split_first() {
            None => Some(""),
            Some((b'=', value)) => core::str::from_utf8(value).ok(),
            Some(_) => None,
        };
        match self.ours.get(..self.count) {
            Some(ours) => ours.iter().copied().rev().find_map(value),
            None => words_of_ours(self.line).rev().find_map(value),
        }
    }

    /// All values of a key that may be given more than once, in their order, as they are: also those that are no text, and
    /// the empty one of a bare `lunette.KEY`. Who must not overlook a word asks here.
    pub fn values(&self, key: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let all = match self.ours.get(..self.count) {
            Some(_) => None,
            None => Some(words_of_ours(self.line)),
        };
        let kept = self.ours.iter().copied().take(if all.is_some() { 0 } else { self.count });
        kept.chain(all.into_iter().flatten()).filter_map(move |word| {
            match word.strip_prefix(key.as_bytes())?.split_first() {
                None => Some(&word[word.len()..]),
                Some((b'=', value)) => Some(value),
                Some(_) => None,
            }
        })
    }

    /// Every word that is text, ours or not.
    pub fn words(&self) -> impl Iterator<Item = &'a str> {
        self.line.split(u8::is_ascii_whitespace).filter_map(|word| core::str::from_utf8(word).ok())
    }

    /// Devices that QEMU's microvm names: `virtio_mmio.device=SIZE@ADDRESS:LINE` (Linux's
    /// kernel-parameters.txt): size, address, interrupt line.
    pub fn virtio_mmio(&self) -> impl Iterator<Item = (u64, u64, u8)> {
        self.line.split(u8::is_ascii_whitespace).filter_map(|word| {
            let value = core::str::from_utf8(word.strip_prefix(b"virtio_mmio.device=")?).ok()?;
            let (size, place) = value.split_once('@')?;
            let mut place = place.split(':');
            let (size, unit) = match size.as_bytes().last()? {
                b'K' | b'k' => (&size[..size.len() - 1], 1024),
                _ => (size, 1),
            };
            let size = number(size)?.checked_mul(unit)?;
            Some((size, number(place.next()?)?, number(place.next()?)?.try_into().ok()?))
        })
    }

    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// A number, decimal or with `0x`.
    pub fn number(&self, key: &str) -> Option<u64> {
        number(self.get(key)?)
    }
}

/// What follows `lunette.` in each word that begins so.
fn words_of_ours(line: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter_map(|word| word.strip_prefix(b"lunette."))
}

fn number(value: &str) -> Option<u64> {
    match value.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => value.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::Cmdline;

    #[test]
    fn finds_what_is_ours_and_only_that() {
        let line = Cmdline::new(
            b"console=ttyS0 lunette.log=info  lunette.probe lunette.report=0xe8 lunette.log=debug",
        );
        assert_eq!(line.get("log"), Some("debug"), "the last one counts");
        assert_eq!(line.get("probe"), Some(""));
        assert_eq!(line.number("report"), Some(0xe8));
        assert_eq!(line.get("lo"), None, "a key is a whole word");
        assert_eq!(line.get("console"), None);
        assert_eq!(line.number("log"), None);
        let line = Cmdline::new(
            b"virtio_mmio.device=512@0xfeb00e00:12 virtio_mmio.device=4K@0xd0000000:5:2 virtio_mmio.device=1@2 \
              virtio_mmio.device=1@2:256 virtio_mmio.device=@:",
        );
        let all: Vec<_> = line.virtio_mmio().collect();
        assert_eq!(all, [(512, 0xfeb0_0e00, 12), (4096, 0xd000_0000, 5)], "what makes no sense is left out");
        let line = "lunette.a=1 ".repeat(100) + "lunette.b=2 lunette.a=3";
        let line = Cmdline::new(line.as_bytes());
        assert_eq!((line.get("a"), line.get("b"), line.get("c")), (Some("3"), Some("2"), None));
        let line = Cmdline::new(b"\xff\xfe lunette.x=\xff lunette.x lunette.x=1 lunette.xy=2");
        assert!(!Cmdline::new(b"lunette.x=\xff").has("x"), "not text, so not there");
        let all = |line: &Cmdline<'static>| line.values("x").collect::<Vec<_>>();
        assert_eq!(all(&line), [&b"\xff"[..], b"", b"1"], "who must not overlook it finds it");
        let line = "lunette.a=1 ".repeat(100) + "lunette.x=1 lunette.x=2";
        assert_eq!(all(&Cmdline::new(line.leak().as_bytes())), [b"1", b"2"]);
    }
}
