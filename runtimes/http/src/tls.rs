//! TLS 1.2 and 1.3: certificates, trust, handshakes.
//!
//! Promises: a certificate is judged by the VM's clock ([`Time::wall`]), and while that has no date there is no
//! handshake, but an error that says so; a key that is not its certificate's is found when they are given, not when
//! somebody connects; a handshake ends in time, well or not; errors say which name and which certificate, in one line.
//!
//! Does not: know what a file is (PEM comes as bytes), ask for certificates, look up revocations, or keep secrets on
//! disk: sessions that can be resumed are in memory, a few hundred of them.
//!
//! Both sides take the [`Time`] they live by as the last argument of `new`.

use std::{
    fmt, io,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use lunette_hostcalls::{Nanos, task::Time};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, InconsistentKeys, InvalidMessage, PeerIncompatible,
    RootCertStore, ServerConfig, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
    },
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName, UnixTime,
        pem::{self, PemObject},
    },
    server::{ClientHello, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
    time_provider::TimeProvider,
};

use crate::{Stream, stream::Plain};

/// How long a handshake may take, unless it is said ([`Server::handshake_time`], [`Client::handshake_time`]).
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// This was written after it: a clock that is before it was never set.
const OLDEST: Nanos = 1_767_225_600_000_000_000;

/// What went wrong, in one line: which certificate, which name, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(pub String);

impl Error {
    fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }

    fn no_date() -> Self {
        Self::new("TLS needs the date: the clock is not set")
    }

    fn late() -> Self {
        Self::new("timeout in the TLS handshake")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// A chain of certificates, the one that names us first, and its key; both in PEM. The key may be PKCS #8, SEC 1 or
/// PKCS #1.
#[derive(Clone, Copy)]
pub struct Identity<'a> {
    pub chain: &'a [u8],
    pub key: &'a [u8],
}

/// Whose certificates a server asks its clients for.
#[derive(Clone, Debug, Default)]
pub enum Clients {
    /// Nobody's.
    #[default]
    Anonymous,
    /// Those that one of these (PEM) has signed; nobody else gets in.
    Only(Vec<u8>),
    /// The same, and whoever shows none.
    OnlyOrAnonymous(Vec<u8>),
}

/// The serving side: certificates with their keys. Clones share them.
#[derive(Clone)]
pub struct Server {
    config: Arc<ServerConfig>,
    shown: Arc<Shown>,
    time: Time,
    handshake: Duration,
}

impl Server {
    /// From a chain and its key in PEM; `alpn` in order of preference.
    pub fn new(chain: &[u8], key: &[u8], alpn: &[&str], time: &Time) -> Result<Self, Error> {
        Self::with(&[Identity { chain, key }], alpn, &Clients::Anonymous, time)
    }

    /// From several: a client is shown the first that is for the name it asks for, or else the first.
    pub fn with(
        identities: &[Identity<'_>],
        alpn: &[&str],
        clients: &Clients,
        time: &Time,
    ) -> Result<Self, Error> {
        let shown = Arc::new(Shown(RwLock::new(keys(identities)?)));
        let builder = ServerConfig::builder_with_details(provider(), Arc::new(Wall(time.clone())))
            .with_safe_default_protocol_versions()
            .map_err(told)?;
        let builder = match clients {
            Clients::Anonymous => builder.with_no_client_auth(),
            Clients::Only(pem) | Clients::OnlyOrAnonymous(pem) => {
                let mut verifier =
                    WebPkiClientVerifier::builder_with_provider(roots(pem)?.into(), provider());
                if matches!(clients, Clients::OnlyOrAnonymous(_)) {
                    verifier = verifier.allow_unauthenticated();
                }
                let verifier = verifier.build().map_err(|error| Error::new(error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_cert_resolver(shown.clone());
        config.alpn_protocols = protocols(alpn);
        Ok(Self { config: config.into(), shown, time: time.clone(), handshake: HANDSHAKE_TIME })
    }

    /// How long a handshake may take.
    #[must_use]
    pub fn handshake_time(mut self, limit: Duration) -> Self {
        self.handshake = limit;
        self
    }

    /// Shows these from the next handshake on; connections that are there stay. With an error, nothing has changed.
    pub fn reload(&self, identities: &[Identity<'_>]) -> Result<(), Error> {
        *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = keys(identities)?;
        Ok(())
    }

    pub async fn accept(&self, plain: Plain) -> Result<Stream, Error> {
        date(&self.time).ok_or_else(Error::no_date)?;
        let handshake = tokio_rustls::TlsAcceptor::from(self.config.clone()).accept(plain);
        match self.time.timeout(self.handshake, handshake).await {
            Some(Ok(stream)) => Ok(Stream::ServerTls(Box::new(stream))),
            Some(Err(error)) => Err(broken(&error)),
            None => Err(Error::late()),
        }
    }
}

/// Whom a client trusts.
#[derive(Clone, Debug, Default)]
pub enum Trust {
    /// The roots of the web, as data in the image.
    #[default]
    Web,
    /// These certificates (PEM) and no others.
    Only(Vec<u8>),
    /// Whoever answers: for tests.
    Anybody,
}

/// The asking side. Clones share their settings and sessions.
#[derive(Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
    time: Time,
    handshake: Duration,
}

impl Client {
    pub fn new(trust: Trust, alpn: &[&str], time: &Time) -> Result<Self, Error> {
        Self::with(&trust, alpn, None, time)
    }

    /// With a certificate to show to servers that ask for one.
    pub fn with(
        trust: &Trust,
        alpn: &[&str],
        identity: Option<Identity<'_>>,
        time: &Time,
    ) -> Result<Self, Error> {
        let provider = provider();
        let builder = ClientConfig::builder_with_details(provider.clone(), Arc::new(Wall(time.clone())))
            .with_safe_default_protocol_versions()
            .map_err(told)?;
        let verifier: Arc<dyn ServerCertVerifier> = match trust {
            Trust::Anybody => Arc::new(Anybody(provider.signature_verification_algorithms)),
            Trust::Web => known(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }, provider)?,
            Trust::Only(pem) => known(roots(pem)?, provider)?,
        };
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder
                .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key(identity)?))),
        };
        config.alpn_protocols = protocols(alpn);
        Ok(Self { config: config.into(), time: time.clone(), handshake: HANDSHAKE_TIME })
    }

    /// How long a handshake may take.
    #[must_use]
    pub fn handshake_time(mut self, limit: Duration) -> Self {
        self.handshake = limit;
        self
    }

    /// Shakes hands with `name`, as which the other side must be known: a name or an address.
    pub async fn connect(&self, plain: Plain, name: &str) -> Result<Stream, Error> {
        date(&self.time).ok_or_else(Error::no_date)?;
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let bare = bare.strip_suffix('.').unwrap_or(bare);
        let server = ServerName::try_from(bare.to_owned())
            .map_err(|_| Error(format!("{name:?} is no name that a certificate could be for")))?;
        let handshake = tokio_rustls::TlsConnector::from(self.config.clone()).connect(server, plain);
        match self.time.timeout(self.handshake, handshake).await {
            Some(Ok(stream)) => Ok(Stream::ClientTls(Box::new(stream))),
            Some(Err(error)) => Err(broken(&error)),
            None => Err(Error::late()),
        }
    }
}

/// What was agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// `TLSv1.3`, `TLSv1.2`.
    pub version: &'static str,
    /// As RFC 8446 and its like name it: `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// `h2`, `http/1.1`: what both sides speak inside.
    pub alpn: Option<Vec<u8>>,
    /// The name that the client asked for; known to the server.
    pub name: Option<String>,
    /// Was an earlier session resumed?
    pub resumed: bool,
    /// What the other side showed, in DER, its own first.
    pub certificates: Vec<Vec<u8>>,
}

impl Stream {
    /// What both sides agreed on; `None`: there is no TLS.
    pub fn agreed(&self) -> Option<Agreed> {
        let (state, name): (&rustls::CommonState, _) = match self {
            Self::Plain(_) => return None,
            Self::ServerTls(tls) => (tls.get_ref().1, tls.get_ref().1.server_name()),
            Self::ClientTls(tls) => (tls.get_ref().1, None),
        };
        let version = match state.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        };
        let cipher = state.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
        Some(Agreed {
            version,
            cipher: cipher.unwrap_or_default(),
            alpn: state.alpn_protocol().map(<[u8]>::to_vec),
            name: name.map(str::to_owned),
            resumed: state.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
            certificates: state
                .peer_certificates()
                .unwrap_or_default()
                .iter()
                .map(|der| der.to_vec())
                .collect(),
        })
    }

    /// Is it HTTP/2 that both sides agreed on?
    pub(crate) fn agreed_on_h2(&self) -> bool {
        let alpn = match self {
            Self::Plain(_) => None,
            Self::ServerTls(tls) => tls.get_ref().1.alpn_protocol(),
            Self::ClientTls(tls) => tls.get_ref().1.alpn_protocol(),
        };
        alpn == Some(b"h2")
    }
}

fn provider() -> Arc<CryptoProvider> {
    ring::default_provider().into()
}

fn protocols(alpn: &[&str]) -> Vec<Vec<u8>> {
    alpn.iter().map(|name| name.as_bytes().to_vec()).collect()
}

/// The date, if the clock was ever set.
fn date(time: &Time) -> Option<UnixTime> {
    let wall = time.wall().filter(|wall| *wall >= OLDEST)?;
    Some(UnixTime::since_unix_epoch(Duration::from_nanos(wall)))
}

/// The VM's clock for rustls.
struct Wall(Time);

impl fmt::Debug for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wall")
    }
}

impl TimeProvider for Wall {
    fn current_time(&self) -> Option<UnixTime> {
        date(&self.0)
    }
}

/// The certificates that a server shows.
#[derive(Debug)]
struct Shown(RwLock<Vec<Arc<CertifiedKey>>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let can_sign = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let named = name.and_then(|name| shown.iter().filter(can_sign).find(|key| is_for(key, &name)));
        named.or_else(|| shown.iter().find(can_sign)).or_else(|| shown.first()).cloned()
    }
}

fn is_for(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let parsed = key.end_entity_cert().and_then(ParsedCertificate::try_from);
    parsed.is_ok_and(|certificate| verify_server_name(&certificate, name).is_ok())
}

fn keys(identities: &[Identity<'_>]) -> Result<Vec<Arc<CertifiedKey>>, Error> {
    if identities.is_empty() {
        return Err(Error::new("a TLS server needs a certificate and its key"));
    }
    identities.iter().map(|one| key(*one).map(Arc::new)).collect()
}

fn key(identity: Identity<'_>) -> Result<CertifiedKey, Error> {
    let chain = certificates(identity.chain, "the certificate")?;
    let whose = whose(&chain[0]);
    let key = PrivateKeyDer::from_pem_slice(identity.key).map_err(|error| match error {
        pem::Error::NoItemsFound if contains(identity.key, b"ENCRYPTED PRIVATE KEY") => {
            Error(format!("the key of {whose} is encrypted: it has to be given without a pass phrase"))
        }
        pem::Error::NoItemsFound if identity.key.trim_ascii().is_empty() => {
            Error(format!("{whose} is without its key"))
        }
        pem::Error::NoItemsFound => {
            Error(format!("the key of {whose} is not PEM: there is no \"-----BEGIN PRIVATE KEY-----\" in it"))
        }
        error => Error(format!("the key of {whose} is not PEM: {error}")),
    })?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            Error(format!("the key is another one's, not that of {whose}"))
        }
        rustls::Error::InvalidCertificate(_) => Error(format!("{whose} is not one that can be read")),
        rustls::Error::General(_) => Error(format!(
            "the key of {whose} can't be used: want RSA (2048 bits or more), P-256, P-384 or Ed25519"
        )),
        error => Error(format!("{whose}: {error}")),
    })
}

fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| Error(format!("{what} is not PEM: {error}")))?;
    if found.is_empty() {
        return Err(Error(format!("no certificate: there is no \"-----BEGIN CERTIFICATE-----\" in {what}")));
    }
    Ok(found)
}

fn contains(text: &[u8], what: &[u8]) -> bool {
    text.windows(what.len()).any(|window| window == what)
}

/// Which certificate, as people say it.
fn whose(certificate: &CertificateDer<'_>) -> String {
    let nobody = ServerName::try_from("name.invalid").expect("a name");
    let names =
        match ParsedCertificate::try_from(certificate).map(|parsed| verify_server_name(&parsed, &nobody)) {
            Ok(Err(rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext {
                presented,
                ..
            }))) => presented,
            _ => Vec::new(),
        };
    match names.is_empty() {
        true => "the certificate (which is for no name)".into(),
        false => format!("the certificate for {}", listed(&names)),
    }
}

/// Names from certificates, as rustls writes them (`DnsName("a.example")`), as people write them; some of many.
fn listed(presented: &[String]) -> String {
    const SHOWN: usize = 4;
    let plain = |name: &String| -> String {
        let inner = name.split_once('(').map_or(name.as_str(), |(_, inner)| inner);
        inner.trim_end_matches(')').trim_matches('"').chars().filter(|c| !c.is_control()).collect()
    };
    let mut names: Vec<String> = presented.iter().take(SHOWN).map(plain).collect();
    if presented.len() > SHOWN {
        names.push(format!("{} more", presented.len() - SHOWN));
    }
    names.join(", ")
}

fn roots(pem: &[u8]) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(pem, "the CA's certificate")? {
        store
            .add(certificate)
            .map_err(|error| Error(format!("the CA's certificate can't be used: {error}")))?;
    }
    Ok(store)
}

fn known(roots: RootCertStore, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build();
    Ok(verifier.map_err(|error| Error::new(error.to_string()))?)
}

/// Believes every certificate, though not a server that has no key for it.
#[derive(Debug)]
struct Anybody(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// Why a handshake failed.
fn broken(error: &io::Error) -> Error {
    if let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return told(inner.clone());
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::new("closed during the TLS handshake"),
        _ => Error(format!("{error} during the TLS handshake")),
    }
}

/// The library's errors as people say them.
pub(crate) fn told(error: rustls::Error) -> Error {
    use rustls::Error as E;
    Error(match error {
        E::InvalidCertificate(error) => certificate(error),
        E::NoCertificatesPresented => "no certificate".into(),
        E::FailedToGetCurrentTime => return Error::no_date(),
        E::FailedToGetRandomBytes => "TLS needs random numbers: there are none yet".into(),
        E::NoApplicationProtocol | E::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            "no protocol (ALPN) that both sides speak".into()
        }
        E::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::MessageTooLarge
            | InvalidMessage::InvalidEmptyPayload
            | InvalidMessage::UnknownProtocolVersion,
        ) => "the other side does not speak TLS".into(),
        E::InvalidMessage(_) => "the other side's TLS is garbled".into(),
        E::PeerIncompatible(why) => match why {
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled => {
                "the other side's TLS is too old: want 1.2 or 1.3".into()
            }
            PeerIncompatible::NoCipherSuitesInCommon => "no cipher that both sides speak".into(),
            PeerIncompatible::NoKxGroupsInCommon => "no key exchange that both sides speak".into(),
            PeerIncompatible::NoSignatureSchemesInCommon => {
                "no kind of signature that both sides speak".into()
            }
            why => format!("the other side's TLS is not ours: {why:?}"),
        },
        E::AlertReceived(alert) => format!("the other side refused: {}", refusal(alert)),
        E::DecryptError => "what came can't be decrypted".into(),
        E::General(words) => words,
        error => error.to_string(),
    })
}

fn certificate(error: CertificateError) -> String {
    use CertificateError as E;
    match error {
        E::Expired | E::ExpiredContext { .. } => "certificate has expired".into(),
        E::NotValidYet | E::NotValidYetContext { .. } => "certificate is not valid yet".into(),
        E::UnknownIssuer => "unknown issuer".into(),
        E::NotValidForName => "certificate is for another name".into(),
        E::NotValidForNameContext { expected, presented } if presented.is_empty() => {
            format!("certificate is for no name, not for {}", expected.to_str())
        }
        E::NotValidForNameContext { expected, presented } => {
            format!("certificate is for {}, not for {}", listed(&presented), expected.to_str())
        }
        E::BadEncoding => "certificate can't be read".into(),
        E::BadSignature => "certificate has a wrong signature".into(),
        E::Revoked => "certificate was revoked".into(),
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => "certificate is for another purpose".into(),
        error => {
            // "is a CA's, where it should be a server's" and its like have no variant of their own.
            let words = error.to_string();
            match words.contains("CaUsedAsEndEntity") {
                true => "certificate is a CA's, not a server's".into(),
                false => format!("certificate can't be used: {words}"),
            }
        }
    }
}

/// RFC 8446, 6.2.
fn refusal(alert: AlertDescription) -> String {
    use AlertDescription as A;
    match alert {
        A::HandshakeFailure => "handshake failure".into(),
        A::BadCertificate => "bad certificate".into(),
        A::UnsupportedCertificate => "unsupported certificate".into(),
        A::CertificateRevoked => "our certificate was revoked".into(),
        A::CertificateExpired => "our certificate has expired".into(),
        A::CertificateUnknown => "certificate not accepted".into(),
        A::UnknownCA => "unknown issuer of our certificate".into(),
        A::CertificateRequired => "it wants a certificate from us".into(),
        A::ProtocolVersion => "no version of TLS that both sides speak".into(),
        A::UnrecognisedName => "it does not know the name".into(),
        A::InternalError => "internal error".into(),
        A::DecodeError => "it can't read what we sent".into(),
        A::CloseNotify | A::UserCanceled => "closed".into(),
        other => format!("{other:?}"),
    }
}
