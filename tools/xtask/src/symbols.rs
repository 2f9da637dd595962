//! The image's own names, for backtraces in the kernel, and what is left of an ELF file once only the
//! loader reads it.
//!
//! [`finish`] writes the table of names into the room that the linker left for it, in the section
//! `.lunette.symbols`. Then all that is cold, from `cold_start` to `cold_end` (the tables for unwinding and
//! this one), leaves the file and comes back folded ([`fold`]) and compressed, in the last segment, which holds the section
//! `.lunette.packed`: kernel/src/cold.rs says how, and unpacks it. What nobody boots is cut off: unused room,
//! section headers, ELF symbols. The table, all little-endian:
//!
//! ```text
//! 0    "LSYM"
//! 4    u32 count
//! 8    u32 bytes of names
//! 12   count × (u32 address − image base, u32 offset into the names), by address
//!      the names, each ended by NUL
//! ```
//!
//! Names are demangled, without hashes, and shortened. Does not: read DWARF, keep data symbols.

use std::collections::{BTreeMap, HashMap};

use object::{
    LittleEndian as LE,
    elf::{self, FileHeader64, ProgramHeader64},
    read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _},
    read::{Object as _, ObjectSection as _, ObjectSymbol as _, SymbolKind, SymbolSection},
};

use crate::sh::Result;

mod fold;
mod pack;

/// Where the table goes.
const NAMES: &str = ".lunette.symbols";
/// Where it goes with all that is cold.
const PACKED: &str = ".lunette.packed";
const PAGE: u64 = 4096;
const DROP_GLUE: &str = "core::ptr::drop_in_place";

/// The linker script's name for where the image begins; the lowest segment's address without it.
const BASE: &str = "image_start";
/// Names are cut to this many bytes; to fewer if the room is short.
const NAME_LIMITS: [usize; 1] = [24];

/// What [`finish`] made.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) bytes: Vec<u8>,
    pub(crate) symbols: usize,
    /// Bytes of the table.
    pub(crate) table: usize,
    /// Bytes of what is cold, as it is in memory and as it is in the file.
    pub(crate) cold: (usize, usize),
}

/// Fills the table of a linked image, packs what is cold, and strips the rest. Addresses stay.
///
/// Fails if this is no ELF64, lacks one of the sections and symbols above, or something can't fit.
pub(crate) fn finish(image: &[u8]) -> Result<Finished> {
    let file = ElfFile64::<LE>::parse(image).map_err(|e| format!("not an ELF64 image: {e}"))?;
    let header = FileHeader64::<LE>::parse(image)?;
    let headers = header.program_headers(LE, image)?;
    let range = |section: &str| {
        let found =
            file.section_by_name(section).ok_or_else(|| format!("the image has no {section} section"))?;
        found.file_range().ok_or_else(|| format!("{section} takes no room in the file"))
    };
    let segment = |offset: u64| {
        let holds = |h: &ProgramHeader64<LE>| {
            h.p_type(LE) == elf::PT_LOAD
                && (h.p_offset(LE)..h.p_offset(LE) + h.p_filesz(LE)).contains(&offset)
        };
        headers.iter().position(holds).ok_or_else(|| format!("{offset:#x} is in no loaded segment"))
    };
    let address = |name: &str| {
        let symbol = file.symbols().find(|symbol| symbol.name() == Ok(name));
        symbol.map(|symbol| symbol.address()).ok_or_else(|| format!("the image has no symbol {name}"))
    };

    // What is cold, with the names in it.
    let (names_at, names_room) = range(NAMES)?;
    let data = &headers[segment(names_at)?];
    let in_file = |address: u64| -> Result<usize> {
        let into = address.checked_sub(data.p_vaddr(LE)).filter(|&into| into <= data.p_filesz(LE));
        Ok(usize::try_from(data.p_offset(LE) + into.ok_or("what is cold is not in one segment")?)?)
    };
    let (begin, end) = (in_file(address("cold_start")?)?, in_file(address("cold_end")?)?);
    let mut cold = image.get(begin..end).ok_or("the image is cut short")?.to_vec();
    let functions = functions(&file)?;
    let room = usize::try_from(names_room)?;
    let mut table = NAME_LIMITS
        .iter()
        .map(|&limit| encode(&functions, limit))
        .find(|table| table.len() <= room)
        .ok_or_else(|| {
            format!("{} functions do not fit into the {room} bytes of {NAMES}", functions.len())
        })?;
    let at = usize::try_from(names_at)?.checked_sub(begin).ok_or_else(|| format!("{NAMES} is not cold"))?;
    let names = table.len();
    fold::names(&mut table)?;
    patch(&mut cold, at, &table)?;
    let place = |section: &str| -> Result<Option<fold::Place>> {
        let Some(found) = file.section_by_name(section) else { return Ok(None) };
        let begin =
            in_file(found.address())?.checked_sub(begin).ok_or_else(|| format!("{section} is not cold"))?;
        Ok(Some(fold::Place { begin, end: begin + usize::try_from(found.size())?, at: found.address() }))
    };
    if let (Some(header), Some(frames)) = (place(".eh_frame_hdr")?, place(".eh_frame")?) {
        fold::frames(&mut cold, header, frames)?;
    }
    let stream = pack::pack(&cold)?;
    let mut packed = b"LCLD".to_vec();
    packed.extend_from_slice(&u32::try_from(stream.len())?.to_le_bytes());
    packed.extend_from_slice(&stream);

    // The file: up to where the cold begins, then the last segment in its new place.
    let (packed_at, packed_room) = range(PACKED)?;
    let last = segment(packed_at)?;
    if packed.len() as u64 > packed_room {
        let long = packed.len();
        return Err(
            format!("what is cold takes {long} bytes, and {PACKED} has room for {packed_room}").into()
        );
    }
    let data_end = in_file(address("data_file_end")?)?;
    let after = |h: &&ProgramHeader64<LE>| h.p_filesz(LE) > 0 && h.p_offset(LE) as usize >= end;
    if headers.iter().filter(after).count() != 1
        || headers[last].p_offset(LE) != packed_at
        || data_end > begin
    {
        return Err(format!("{PACKED} must be the last segment, after what is cold and nothing else").into());
    }
    let mut bytes = image.get(..data_end).ok_or("the image is cut short")?.to_vec();
    let packed_at = (data_end as u64).next_multiple_of(PAGE);
    bytes.resize(usize::try_from(packed_at)?, 0);
    bytes.extend_from_slice(&packed);

    // Elf64_Phdr: p_offset at 8, p_filesz at 32, p_memsz at 40. Elf64_Ehdr: e_shoff at 40, e_shentsize, e_shnum
    // and e_shstrndx from 58 on.
    let entry = |segment: usize| -> Result<usize> {
        Ok(usize::try_from(header.e_phoff(LE))? + segment * size_of::<ProgramHeader64<LE>>())
    };
    let kept = data_end as u64 - data.p_offset(LE);
    patch(&mut bytes, entry(segment(names_at)?)? + 32, &kept.to_le_bytes())?;
    let size = (packed.len() as u64).to_le_bytes();
    patch(&mut bytes, entry(last)? + 8, &packed_at.to_le_bytes())?;
    patch(&mut bytes, entry(last)? + 32, &size)?;
    // Segments are whole pages: a loader must not put anything of its own into the rest of one (GRUB does). They end where the
    // next one begins, though: the linker counts room for thread-local zeros, which are nobody's memory.
    let loaded = || headers.iter().enumerate().filter(|(_, h)| h.p_type(LE) == elf::PT_LOAD);
    for (index, header) in loaded() {
        let start = header.p_vaddr(LE);
        let taken = if index == last { packed.len() as u64 } else { header.p_memsz(LE) };
        let next = loaded().map(|(_, next)| next.p_vaddr(LE)).filter(|next| *next > start).min();
        let end = (start + taken).next_multiple_of(PAGE).min(next.unwrap_or(u64::MAX));
        patch(&mut bytes, entry(index)? + 40, &(end - start).to_le_bytes())?;
    }
    patch(&mut bytes, 40, &[0; 8])?;
    patch(&mut bytes, 58, &[0; 6])?;
    let cold = (cold.len(), packed.len());
    Ok(Finished { bytes, symbols: functions.len(), table: names, cold })
}

fn patch(bytes: &mut [u8], at: usize, with: &[u8]) -> Result<()> {
    let place = bytes.get_mut(at..at + with.len()).ok_or("a header lies outside of the file")?;
    place.copy_from_slice(with);
    Ok(())
}

/// Address from the image's base → demangled name; one name for an address.
fn functions(file: &ElfFile64<'_, LE>) -> Result<BTreeMap<u32, String>> {
    let base = match file.symbols().find(|symbol| symbol.name() == Ok(BASE)) {
        Some(symbol) => symbol.address(),
        None => file
            .elf_program_headers()
            .iter()
            .filter(|h| h.p_type(LE) == elf::PT_LOAD)
            .map(|h| h.p_vaddr(LE))
            .min()
            .ok_or("the image has no loaded segment")?,
    };
    let mut functions = BTreeMap::new();
    for symbol in file.symbols() {
        // Labels in assembly have no type; they count if they are in code.
        let code = match symbol.kind() {
            SymbolKind::Text => true,
            SymbolKind::Label | SymbolKind::Unknown => in_code(file, symbol.section()),
            _ => false,
        };
        let name = symbol.name().unwrap_or_default();
        if !code || symbol.is_undefined() || name.is_empty() || name.starts_with('.') || name.starts_with('$')
        {
            continue;
        }
        let Some(address) = symbol.address().checked_sub(base).and_then(|a| u32::try_from(a).ok()) else {
            continue;
        };
        let mut name = format!("{:#}", rustc_demangle::demangle(name)).replace('\0', "");
        // There are thousands, in rows: what is dropped is seen from who drops it.
        if name.starts_with(DROP_GLUE) {
            name.truncate(DROP_GLUE.len());
        }
        // A function with a size wins over a label at the same place.
        if symbol.size() > 0 || !functions.contains_key(&address) {
            functions.insert(address, name);
        }
    }
    Ok(functions)
}

fn in_code(file: &ElfFile64<'_, LE>, section: SymbolSection) -> bool {
    let SymbolSection::Section(index) = section else { return false };
    file.section_by_index(index).is_ok_and(|section| section.kind() == object::SectionKind::Text)
}

fn encode(functions: &BTreeMap<u32, String>, limit: usize) -> Vec<u8> {
    let mut names = Vec::new();
    // Copies of a generic function share one name.
    let mut known: HashMap<&str, u32> = HashMap::new();
    let mut pairs = Vec::with_capacity(functions.len() * 8);
    let mut before = None;
    for (address, name) in functions {
        let name = shorten(name, limit);
        // What follows under the same name needs no entry.
        if before.replace(name) == Some(name) {
            continue;
        }
        let at = *known.entry(name).or_insert_with(|| {
            let at = names.len() as u32;
            names.extend_from_slice(name.as_bytes());
            names.push(0);
            at
        });
        pairs.extend_from_slice(&address.to_le_bytes());
        pairs.extend_from_slice(&at.to_le_bytes());
    }
    let mut table = b"LSYM".to_vec();
    table.extend_from_slice(&((pairs.len() / 8) as u32).to_le_bytes());
    table.extend_from_slice(&(names.len() as u32).to_le_bytes());
    table.extend_from_slice(&pairs);
    table.extend_from_slice(&names);
    table
}

/// At most `limit` bytes, cut between characters.
fn shorten(name: &str, limit: usize) -> &str {
    let mut end = name.len().min(limit);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

#[cfg(test)]
mod tests {
    use super::{NAMES, PACKED, finish, shorten};

    const CODE_AT: u64 = 0x10_0000;
    const DATA_AT: u64 = 0x20_0000;
    const PACKED_AT: u64 = 0x30_0000;
    const HEADERS: usize = 64 + 3 * 56;
    const CODE: usize = 0x60;
    const DATA: usize = 16;
    const TABLES: &[u8] = b"how to unwind, how to unwind, how to unwind";

    /// A linked image in small: code; data, and what is cold with room for names; room for it compressed. Three functions
    /// and a label.
    fn image(names: usize, packed: usize, section: &str) -> Vec<u8> {
        let cold = DATA_AT + DATA as u64;
        let cold_end = cold + (TABLES.len() + names) as u64;
        // Name, kind, address, size.
        let symbols: &[(&str, u8, u64, u64)] = &[
            ("image_start", 0x10, CODE_AT, 0),
            ("pvh_entry", 0x10, CODE_AT + 0x10, 0),
            ("_RNvCs1234_7lunette5start", 0x12, CODE_AT + 0x20, 8),
            ("_ZN7lunette4stop17h0123456789abcdefE", 0x12, CODE_AT + 0x40, 8),
            ("data_not_code", 0x11, CODE_AT + 0x50, 8),
            ("data_file_end", 0x11, cold, 0),
            ("cold_start", 0x11, cold, 0),
            ("cold_end", 0x11, cold_end, 0),
        ];
        let data_off = HEADERS + CODE;
        let names_off = data_off + DATA + TABLES.len();
        let packed_off = names_off + names;
        let strtab_off = packed_off + packed;
        let mut strtab = vec![0];
        let mut symtab = vec![0u8; 24];
        for &(name, info, at, size) in symbols {
            symtab.extend((strtab.len() as u32).to_le_bytes());
            symtab.extend([info, 0]);
            symtab.extend(1u16.to_le_bytes());
            symtab.extend(at.to_le_bytes());
            symtab.extend(size.to_le_bytes());
            strtab.extend(name.as_bytes());
            strtab.push(0);
        }
        let symtab_off = strtab_off + strtab.len();
        let shstr = format!("\0.text\0{section}\0{PACKED}\0.symtab\0.strtab\0");
        let name_at = |name: &str| shstr.find(&format!("\0{name}\0")).unwrap() as u32 + 1;
        let shstr_off = symtab_off + symtab.len();
        let sh_off = shstr_off + shstr.len();

        let mut out = b"\x7fELF\x02\x01\x01".to_vec();
        out.resize(16, 0);
        out.extend(2u16.to_le_bytes());
        out.extend(62u16.to_le_bytes());
        out.extend(1u32.to_le_bytes());
        out.extend((CODE_AT + 0x10).to_le_bytes());
        out.extend(64u64.to_le_bytes());
        out.extend((sh_off as u64).to_le_bytes());
        out.extend(0u32.to_le_bytes());
        for half in [64u16, 56, 3, 64, 6, 5] {
            out.extend(half.to_le_bytes());
        }
        let data = packed_off - data_off;
        for (flags, off, addr, size) in
            [(5u32, HEADERS, CODE_AT, CODE), (6, data_off, DATA_AT, data), (4, packed_off, PACKED_AT, packed)]
        {
            out.extend(1u32.to_le_bytes());
            out.extend(flags.to_le_bytes());
            for word in [off as u64, addr, addr, size as u64, size as u64, 16] {
                out.extend(word.to_le_bytes());
            }
        }
        out.resize(data_off + DATA, 0x90);
        out.extend(TABLES);
        out.resize(strtab_off, 0);
        out.extend(&strtab);
        out.extend(&symtab);
        out.extend(shstr.as_bytes());
        out.resize(sh_off + 64, 0);
        let names_at = DATA_AT + (names_off - data_off) as u64;
        for (name, kind, flags, addr, off, size, link, entsize) in [
            (".text", 1u32, 6u64, CODE_AT, HEADERS, CODE, 0u32, 0u64),
            (section, 1, 2, names_at, names_off, names, 0, 0),
            (PACKED, 1, 2, PACKED_AT, packed_off, packed, 0, 0),
            (".symtab", 2, 0, 0, symtab_off, symtab.len(), 5, 24),
            (".strtab", 3, 0, 0, strtab_off, shstr_off + shstr.len() - strtab_off, 0, 0),
        ] {
            // One string table for both: section names lie behind the symbols' names.
            out.extend((name_at(name) + (shstr_off - strtab_off) as u32).to_le_bytes());
            out.extend(kind.to_le_bytes());
            for word in [flags, addr, off as u64, size as u64] {
                out.extend(word.to_le_bytes());
            }
            out.extend(link.to_le_bytes());
            out.extend(1u32.to_le_bytes());
            out.extend(1u64.to_le_bytes());
            out.extend(entsize.to_le_bytes());
        }
        out
    }

    fn word(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    fn long(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    }

    /// What the kernel finds once it has unpacked the last segment.
    fn unpacked(file: &[u8], length: usize) -> Vec<u8> {
        let last = &file[long(file, 64 + 2 * 56 + 8) as usize..];
        assert_eq!(&last[..4], b"LCLD");
        assert_eq!(last.len(), 8 + word(last, 4) as usize);
        super::pack::unpack(&last[8..], length).unwrap()
    }

    #[test]
    fn the_table_names_code_by_address_and_nothing_else() {
        let done = finish(&image(1024, 2048, NAMES)).unwrap();
        let mut cold = unpacked(&done.bytes, done.cold.0);
        super::fold::unfold_names(&mut cold[TABLES.len()..]).unwrap();
        assert_eq!((cold.len(), &cold[..TABLES.len()]), (TABLES.len() + 1024, TABLES));
        let table = &cold[TABLES.len()..][..done.table];
        assert_eq!(&table[..4], b"LSYM");
        let count = word(table, 4) as usize;
        let names = &table[12 + count * 8..];
        assert_eq!(word(table, 8) as usize, names.len());
        let found: Vec<(u32, &str)> = (0..count)
            .map(|i| {
                let name = &names[word(table, 16 + i * 8) as usize..];
                let end = name.iter().position(|&b| b == 0).unwrap();
                (word(table, 12 + i * 8), str::from_utf8(&name[..end]).unwrap())
            })
            .collect();
        let expected =
            [(0, "image_start"), (0x10, "pvh_entry"), (0x20, "lunette::start"), (0x40, "lunette::stop")];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_nobody_boots_is_cut_off_and_the_segments_shrunk() {
        let image = image(1024, 8192, NAMES);
        let done = finish(&image).unwrap();
        assert!(done.bytes.len() < image.len() - 512);
        let header = |segment: usize, at: usize| long(&done.bytes, 64 + segment * 56 + at);
        // The data's file ends before what is cold; in memory it is as long as before, and all are whole pages.
        assert_eq!(header(1, 32), DATA as u64, "p_filesz");
        assert_eq!(header(1, 40), ((DATA + TABLES.len() + 1024) as u64).next_multiple_of(4096), "p_memsz");
        assert_eq!(header(0, 40), 4096, "p_memsz");
        // The last one lies at a page of the file, and has what is used.
        let packed = done.cold.1 as u64;
        assert_eq!((header(2, 8) % 4096, header(2, 16)), (0, PACKED_AT));
        assert_eq!((header(2, 32), header(2, 40)), (packed, packed.next_multiple_of(4096)));
        assert_eq!(done.bytes.len() as u64, header(2, 8) + packed);
        assert_eq!(long(&done.bytes, 40), 0, "e_shoff");
        assert_eq!(done.bytes[58..64], [0; 6], "section header counts");
        // The code and its header are as they were.
        assert_eq!(done.bytes[64..104], image[64..104]);
        assert_eq!(done.bytes[HEADERS..HEADERS + CODE + DATA], image[HEADERS..HEADERS + CODE + DATA]);
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        let error = |image: &[u8]| finish(image).unwrap_err().to_string();
        assert!(error(b"not an image").contains("not an ELF64"));
        assert!(error(&image(1024, 2048, ".something.else")).contains("no .lunette.symbols"));
        assert!(error(&image(32, 2048, NAMES)).contains("do not fit into the 32 bytes"));
        assert!(error(&image(1024, 40, NAMES)).contains(".lunette.packed has room for 40"));
        let good = image(1024, 2048, NAMES);
        for cut in [10, 64, 100, 200, good.len() - 1] {
            assert!(finish(&good[..cut]).is_err());
        }
    }

    #[test]
    fn names_are_cut_between_characters() {
        assert_eq!(shorten("häuser", 2), "h");
        assert_eq!(shorten("häuser", 3), "hä");
        assert_eq!(shorten("haus", 80), "haus");
    }
}
