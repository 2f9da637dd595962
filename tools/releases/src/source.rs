//! Where releases come from: a folder, or a server by HTTP. Neither is trusted.
//!
//! Promises: no more is read than was asked for; a file arrives whole and with its sum, or stays a part that a later attempt goes
//! on with. Does not: follow a redirection from HTTPS to HTTP.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest, Sha256};
use ureq::{Agent, http::StatusCode};

use crate::{Error, File, Result, hex};

/// An index and its signature are no larger.
pub(crate) const SMALL: u64 = 1 << 20;
/// How long a server may take to be reached, to begin, and to send what it has: what came in that time is kept, and another
/// attempt goes on with it.
const CONNECT: Duration = Duration::from_secs(15);
const ANSWER: Duration = Duration::from_secs(30);
const BODY: Duration = Duration::from_secs(600);
const SMALL_BODY: Duration = Duration::from_secs(60);
/// No server of files sends one on further than that.
const REDIRECTIONS: u32 = 5;

/// A folder, or a server.
#[derive(Debug)]
pub enum Source {
    Folder(PathBuf),
    /// What comes before the names, with its last slash.
    Http(String, Agent),
}

impl Source {
    /// From a URL, or a path.
    pub fn new(text: &str) -> Result<Self> {
        if text.starts_with("http://") || text.starts_with("https://") {
            let config = Agent::config_builder()
                .timeout_connect(Some(CONNECT))
                .timeout_recv_response(Some(ANSWER))
                .max_redirects(REDIRECTIONS)
                .http_status_as_error(false)
                .https_only(text.starts_with("https://"))
                .user_agent(concat!("lunette/", env!("CARGO_PKG_VERSION")))
                .build();
            return Ok(Self::Http(format!("{}/", text.trim_end_matches('/')), config.into()));
        }
        if text.contains("://") {
            return Err(Error::new(
                "this is no source",
                text,
                "name a folder, or an http:// or https:// URL",
            ));
        }
        let path = PathBuf::from(text);
        if !path.is_dir() {
            return Err(Error::new("there is no such folder", text, "name the folder of a mirror, or a URL"));
        }
        Ok(Self::Folder(path))
    }

    /// Where a file is, in words.
    pub fn place(&self, name: &str) -> String {
        match self {
            Self::Folder(folder) => folder.join(name).display().to_string(),
            Self::Http(base, _) => format!("{base}{name}"),
        }
    }

    /// A small file.
    pub fn small(&self, name: &str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let (_, reader) = self.open(name, 0, SMALL_BODY)?;
        reader.take(SMALL + 1).read_to_end(&mut bytes).map_err(|e| self.broken(name, &e))?;
        if bytes.len() as u64 > SMALL {
            let what = format!("it is larger than {SMALL} bytes, and so no index");
            return Err(Error::new(what, self.place(name), "try another source"));
        }
        Ok(bytes)
    }

    /// Gets a file into its place. `part` is where it grows; what is there already is kept.
    pub fn fetch(&self, file: &File, part: &Path, to: &Path) -> Result<()> {
        let name = &file.location;
        let failed = |e: io::Error| {
            Error::new(
                format!("it can't be stored: {e}"),
                part.display(),
                "make room, and see that it is yours",
            )
        };
        let mut out = OpenOptions::new().read(true).append(true).create(true).open(part).map_err(failed)?;
        let mut have = out.seek(SeekFrom::End(0)).map_err(failed)?;
        if have > file.size {
            out.set_len(0).map_err(failed)?;
            have = 0;
        }
        if have < file.size {
            let (from, mut reader) = self.open(name, have, BODY)?;
            if from == 0 {
                // It does not go on: from the beginning then.
                out.set_len(0).map_err(failed)?;
                have = 0;
            }
            let mut buffer = vec![0; 64 * 1024];
            loop {
                let count = match reader.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => count,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                    Err(e) => return Err(self.broken(name, &e)),
                };
                have += count as u64;
                if have > file.size {
                    drop(out);
                    let _ = fs::remove_file(part);
                    let what = format!("the source sends more than the {} bytes that it has", file.size);
                    return Err(Error::new(what, self.place(name), "try another source"));
                }
                out.write_all(&buffer[..count]).map_err(failed)?;
            }
            if have < file.size {
                let what = format!("it was cut short: {have} of {} bytes came", file.size);
                return Err(Error::new(what, self.place(name), "try again: it goes on where it stopped"));
            }
        }
        out.sync_all().map_err(failed)?;
        let is = sum(part).map_err(failed)?;
        if is != file.sha256 {
            let _ = fs::remove_file(part);
            let what = format!(
                "the source sends something else: its SHA-256 is {is}, and the index says {}",
                file.sha256
            );
            return Err(Error::new(what, self.place(name), "try another source"));
        }
        fs::rename(part, to).map_err(failed)
    }

    /// Opens it from this byte on, if that can be; from where it begins is said.
    fn open(&self, name: &str, from: u64, within: Duration) -> Result<(u64, Box<dyn Read>)> {
        match self {
            Self::Folder(folder) => {
                let mut file = fs::File::open(folder.join(name)).map_err(|e| {
                    Error::new(
                        format!("it can't be read: {e}"),
                        self.place(name),
                        "name the folder of a mirror",
                    )
                })?;
                file.seek(SeekFrom::Start(from)).map_err(|e| self.broken(name, &e))?;
                Ok((from, Box::new(file)))
            }
            Self::Http(base, agent) => {
                let mut request = agent.get(format!("{base}{name}"));
                request = request.config().timeout_recv_body(Some(within)).build();
                if from > 0 {
                    request = request.header("range", format!("bytes={from}-"));
                }
                let answer = request.call().map_err(|e| match e {
                    ureq::Error::TooManyRedirects => {
                        let what = format!("the server sends us on and on, more than {REDIRECTIONS} times");
                        Error::new(what, self.place(name), "see that the URL is that of releases")
                    }
                    e => {
                        let what = format!("the server can't be reached: {e}");
                        let help = "see that it is there, or use a mirror: --from DIR";
                        Error::new(what, self.place(name), help)
                    }
                })?;
                let begins = match answer.status() {
                    StatusCode::OK => 0,
                    StatusCode::PARTIAL_CONTENT => {
                        let range =
                            answer.headers().get("content-range").and_then(|range| range.to_str().ok());
                        let range = range.and_then(|range| range.strip_prefix("bytes ")?.split_once('-'));
                        let begins = range.and_then(|(begins, _)| begins.parse::<u64>().ok());
                        match begins {
                            Some(begins) if begins == from => begins,
                            _ => {
                                let what = "the server sends another part than was asked for";
                                return Err(Error::new(what, self.place(name), "try another source"));
                            }
                        }
                    }
                    // It has less than we: what we have is not of this file.
                    StatusCode::RANGE_NOT_SATISFIABLE if from > 0 => return self.open(name, 0, within),
                    status => {
                        let what = format!("the server answers {status}");
                        return Err(Error::new(
                            what,
                            self.place(name),
                            "see that the URL is that of releases",
                        ));
                    }
                };
                Ok((begins, Box::new(answer.into_body().into_reader())))
            }
        }
    }

    #[cold]
    fn broken(&self, name: &str, e: &io::Error) -> Error {
        Error::new(format!("it breaks off: {e}"), self.place(name), "try again: it goes on where it stopped")
    }
}

/// The SHA-256 of a file.
pub(crate) fn sum(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut sum = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&sum.finalize())),
            count => sum.update(&buffer[..count]),
        }
    }
}
