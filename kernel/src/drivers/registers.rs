//! A card's registers: 32 bits each, by their offset.

/// Reading one may have an effect.
pub(crate) trait Registers {
    fn read(&mut self, at: u32) -> u32;
    fn write(&mut self, at: u32, value: u32);
}
