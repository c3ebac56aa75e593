//! The certificates of one cluster: a certification authority of its own, and what it signed.
//!
//! Keys are EC P-256 and lie as files in the world's folder; nothing outlives the world. Validity is the library's widest:
//! a world lives for minutes, and its machine's clock is not what is tested.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use serde_json::json;

use crate::node::create;

/// The authority and the folder of everything it signs.
pub(crate) struct Authority {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// Whom a certificate names.
#[derive(Debug)]
pub(crate) struct Subject<'a> {
    /// File name, without ending.
    pub(crate) file: &'a str,
    /// User name in Kubernetes.
    pub(crate) common_name: &'a str,
    /// Group in Kubernetes.
    pub(crate) organization: Option<&'a str>,
    /// Names and addresses under which it is reached, for servers.
    pub(crate) names: &'a [String],
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the key.
        f.debug_struct("Authority")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes a new authority with its files in `folder`.
    pub(crate) fn create(folder: &Path) -> Result<Self> {
        create(folder)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "berth-testbed");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate().context("make the authority's key")?;
        let issuer = CertifiedIssuer::self_signed(params, key)
            .context("sign the authority's certificate")?;
        let authority = Self {
            folder: folder.to_owned(),
            issuer,
        };
        write(&authority.ca(), &authority.issuer.pem())?;
        Ok(authority)
    }

    /// The authority's certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// The certificate of this file name.
    pub(crate) fn certificate(&self, file: &str) -> String {
        self.path(file, "crt")
    }

    /// The key of this file name.
    pub(crate) fn key(&self, file: &str) -> String {
        self.path(file, "key")
    }

    /// Makes a key and signs its certificate, for a client and a server at once.
    pub(crate) fn issue(&self, subject: &Subject<'_>) -> Result<()> {
        let file = subject.file;
        let mut params = CertificateParams::new(subject.names.to_vec())
            .with_context(|| format!("a name of {file} is no name"))?;
        params.distinguished_name = DistinguishedName::new();
        if let Some(organization) = subject.organization {
            params
                .distinguished_name
                .push(DnType::OrganizationName, organization);
        }
        params
            .distinguished_name
            .push(DnType::CommonName, subject.common_name);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().with_context(|| format!("make the key of {file}"))?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .with_context(|| format!("sign the certificate of {file}"))?;
        write(Path::new(&self.certificate(file)), &certificate.pem())?;
        write(Path::new(&self.key(file)), &key.serialize_pem())
    }

    /// Makes a pair of keys without a certificate: those of service accounts' tokens.
    pub(crate) fn make_pair(&self, file: &str) -> Result<()> {
        let key = KeyPair::generate().with_context(|| format!("make the key {file}"))?;
        write(Path::new(&self.key(file)), &key.serialize_pem())?;
        write(Path::new(&self.public_key(file)), &key.public_key_pem())
    }

    /// The public key of this file name.
    pub(crate) fn public_key(&self, file: &str) -> String {
        self.path(file, "pub")
    }

    /// Issues a client's certificate and writes the kubeconfig that uses it; its path.
    pub(crate) fn kubeconfig(&self, subject: &Subject<'_>, server: &str) -> Result<String> {
        self.issue(subject)?;
        let file = subject.file;
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "world",
            "clusters": [{"name": "world", "cluster": {"server": server, "certificate-authority": self.ca()}}],
            "users": [{"name": file, "user": {
                "client-certificate": self.certificate(file), "client-key": self.key(file),
            }}],
            "contexts": [{"name": "world", "context": {"cluster": "world", "user": file}}],
        });
        let path = self.path(file, "kubeconfig");
        write(Path::new(&path), &config.to_string())?;
        Ok(path)
    }

    fn path(&self, file: &str, end: &str) -> String {
        let path = self.folder.join(format!("{file}.{end}"));
        path.to_string_lossy().into_owned()
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
