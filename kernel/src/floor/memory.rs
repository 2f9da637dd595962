pub fn mmap(_a:usize,l:usize,_p:i32,_f:i32,_fd:i32,_o:i64)->isize{ match crate::mm::bump(l){0=>-12,x=>x as isize} }
pub fn mprotect(_:usize,_:usize,_:i32)->isize{0} pub fn munmap(_:usize,_:usize)->isize{0} pub fn brk(_:usize)->isize{0}
pub fn mremap(_:usize,_:usize,_:usize,_:i32,_:usize)->isize{-12} pub fn madvise(_:usize,_:usize,_:i32)->isize{0}
pub fn memfd_create(_:usize,_:u32)->isize{-38} pub fn close(_:i32)->isize{0} pub fn lseek(_:i32,_:i64,_:i32)->isize{-9}
pub fn write(_:i32,_:usize,_:usize)->isize{-9} pub fn pwrite(_:i32,_:usize,_:usize,_:i64)->isize{-9} pub fn fcntl(_:i32,_:i32,_:usize)->isize{-22} pub fn ftruncate(_:i32,_:i64)->isize{-9}
