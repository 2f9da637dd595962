//! Linux's numbers and words for what a file's call answers: what `strerror` says there, and scripts compare with.

use lunette_hostcalls::Errno;

pub(super) fn linux(errno: Errno) -> (i64, String) {
    let (number, words) = match errno {
        Errno::Perm => (1, "Operation not permitted"),
        Errno::Noent => (2, "No such file or directory"),
        Errno::Io => (5, "Input/output error"),
        Errno::Nxio => (6, "No such device or address"),
        Errno::Badf => (9, "Bad file descriptor"),
        Errno::Again => (11, "Resource temporarily unavailable"),
        Errno::Nomem => (12, "Cannot allocate memory"),
        Errno::Acces | Errno::Notcapable => (13, "Permission denied"),
        Errno::Busy => (16, "Device or resource busy"),
        Errno::Exist => (17, "File exists"),
        Errno::Xdev => (18, "Invalid cross-device link"),
        Errno::Nodev => (19, "No such device"),
        Errno::Notdir => (20, "Not a directory"),
        Errno::Isdir => (21, "Is a directory"),
        Errno::Inval => (22, "Invalid argument"),
        Errno::Nfile => (23, "Too many open files in system"),
        Errno::Mfile => (24, "Too many open files"),
        Errno::Txtbsy => (26, "Text file busy"),
        Errno::Fbig => (27, "File too large"),
        Errno::Nospc => (28, "No space left on device"),
        Errno::Spipe => (29, "Illegal seek"),
        Errno::Rofs => (30, "Read-only file system"),
        Errno::Mlink => (31, "Too many links"),
        Errno::Pipe => (32, "Broken pipe"),
        Errno::Nametoolong => (36, "File name too long"),
        Errno::Nosys => (38, "Function not implemented"),
        Errno::Notempty => (39, "Directory not empty"),
        Errno::Loop => (40, "Too many levels of symbolic links"),
        Errno::Overflow => (75, "Value too large for defined data type"),
        Errno::Ilseq => (84, "Invalid or incomplete multibyte or wide character"),
        Errno::Notsup => (95, "Operation not supported"),
        Errno::Stale => (116, "Stale file handle"),
        Errno::Dquot => (122, "Disk quota exceeded"),
        // No file's call answers with it.
        other => return (i64::from(other.code()), other.to_string()),
    };
    (number, words.to_owned())
}
