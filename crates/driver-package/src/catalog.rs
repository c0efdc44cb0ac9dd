//! The catalogue: a list of hashes that vouches for every file of a package, ready to be signed.
//!
//! It is a certificate trust list (CTL) in a CMS message without a signature, of the form with SHA-256 hashes that
//! Windows 8 and later know. Each member is a hash with attributes: the file's name, the Windows versions it is for, and
//! the same hash once more as a signature of the file would have it.

use const_oid::ObjectIdentifier;
use der::{
    Any, Decode, Encode, Sequence, ValueOrd,
    asn1::{BmpString, Null, OctetString, SetOfVec, UtcTime},
};
use spki::AlgorithmIdentifierOwned;
use thiserror::Error;

use crate::{
    authenticode::{self, Hash},
    stamp::Architecture,
};

const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

const SIGNED_DATA: ObjectIdentifier = oid("1.2.840.113549.1.7.2");
const TRUST_LIST: ObjectIdentifier = oid("1.3.6.1.4.1.311.10.1");
const CATALOG_LIST: ObjectIdentifier = oid("1.3.6.1.4.1.311.12.1.1");
/// Members are known by the bytes of their SHA-256 hash.
const CATALOG_MEMBER_2: ObjectIdentifier = oid("1.3.6.1.4.1.311.12.1.3");
const NAME_AND_VALUE: ObjectIdentifier = oid("1.3.6.1.4.1.311.12.2.1");
const MEMBER_INFORMATION_2: ObjectIdentifier = oid("1.3.6.1.4.1.311.12.2.3");
const INDIRECT_DATA: ObjectIdentifier = oid("1.3.6.1.4.1.311.2.1.4");
const IMAGE_DATA: ObjectIdentifier = oid("1.3.6.1.4.1.311.2.1.15");
const CABINET_DATA: ObjectIdentifier = oid("1.3.6.1.4.1.311.2.1.25");
const SHA_256: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.1");

/// A link to a file, `SpcLink`, with an empty name: the catalogue names files by their hash.
const NO_LINK: [u8; 4] = [0xA2, 2, 0x80, 0];
/// `SpcPeImageData`: the whole image is hashed; it has no other name either.
const WHOLE_IMAGE: [u8; 12] = [0x30, 10, 3, 2, 5, 0xA0, 0xA0, 4, 0xA2, 2, 0x80, 0];
/// `CAT_MEMBERINFO2` says nothing in catalogues of drivers.
const NO_INFORMATION: [u8; 2] = [0x82, 0];

/// Attribute of a file or the catalogue: authenticated, text, by name.
const TEXT_ATTRIBUTE: u32 = 0x1001_0001;

/// Windows 10 and later, in the catalogue's way of writing versions.
const WINDOWS_10: &str = "2:10.0";

/// Why a catalogue cannot be written or read.
#[derive(Debug, Error)]
pub enum CatalogError {
    /// A value cannot be encoded, or the file is no catalogue.
    #[error("not a catalogue: {0}")]
    Encoding(#[from] der::Error),
}

/// A file of the package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name, in lower case.
    pub name: String,
    /// The hash by which Windows knows it.
    pub hash: Hash,
    /// Whether it is an image, and so has its own way to be hashed.
    pub is_image: bool,
}

impl Member {
    /// The member for a file.
    #[must_use]
    pub fn new(name: &str, file: &[u8]) -> Self {
        let image = authenticode::hash(file);
        Self {
            name: name.to_ascii_lowercase(),
            hash: image.unwrap_or_else(|| authenticode::flat_hash(file)),
            is_image: image.is_some(),
        }
    }
}

/// What a catalogue says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog {
    /// The files.
    pub members: Vec<Member>,
    /// Identifiers of the devices that the package is for.
    pub hardware_ids: Vec<String>,
    /// The architecture that the package is for.
    pub architecture: Architecture,
    /// When it was made, in seconds since 1970.
    pub made: u64,
}

#[derive(Sequence)]
struct Message {
    content_type: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    content: SignedData,
}

#[derive(Sequence)]
struct SignedData {
    version: u8,
    digest_algorithms: SetOfVec<AlgorithmIdentifierOwned>,
    content: ListContent,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    certificates: Option<SetOfVec<Any>>,
    signers: SetOfVec<Any>,
}

#[derive(Sequence)]
struct ListContent {
    content_type: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    list: TrustList,
}

#[derive(Sequence)]
struct TrustList {
    usage: Vec<ObjectIdentifier>,
    identifier: OctetString,
    made: UtcTime,
    subject_algorithm: AlgorithmIdentifierOwned,
    subjects: Vec<Subject>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    attributes: Option<Vec<ListAttribute>>,
}

#[derive(Sequence)]
struct Subject {
    identifier: OctetString,
    attributes: SetOfVec<SubjectAttribute>,
}

#[derive(Sequence, ValueOrd)]
struct SubjectAttribute {
    kind: ObjectIdentifier,
    values: SetOfVec<Any>,
}

#[derive(Sequence)]
struct ListAttribute {
    kind: ObjectIdentifier,
    value: OctetString,
}

#[derive(Sequence)]
struct NameAndValue {
    name: BmpString,
    flags: u32,
    value: OctetString,
}

#[derive(Sequence)]
struct IndirectData {
    data: IndirectType,
    digest: DigestInformation,
}

#[derive(Sequence)]
struct IndirectType {
    kind: ObjectIdentifier,
    value: Any,
}

#[derive(Sequence)]
struct DigestInformation {
    algorithm: AlgorithmIdentifierOwned,
    digest: OctetString,
}

impl Catalog {
    /// The catalogue as a file, unsigned. The same contents give the same bytes.
    ///
    /// # Errors
    ///
    /// A name that cannot be encoded.
    pub fn to_der(&self) -> Result<Vec<u8>, CatalogError> {
        let mut members: Vec<&Member> = self.members.iter().collect();
        members.sort_by_key(|member| member.hash);
        let message = Message {
            content_type: SIGNED_DATA,
            content: SignedData {
                version: 1,
                digest_algorithms: SetOfVec::new(),
                content: ListContent {
                    content_type: TRUST_LIST,
                    list: self.trust_list(&members)?,
                },
                certificates: None,
                signers: SetOfVec::new(),
            },
        };
        Ok(message.to_der()?)
    }

    fn trust_list(&self, members: &[&Member]) -> Result<TrustList, CatalogError> {
        let made = UtcTime::from_unix_duration(std::time::Duration::from_secs(self.made))?;
        let mut attributes = vec![list_attribute(
            "OS",
            &format!("_v100_{}", self.architecture.catalog()),
        )?];
        for (index, id) in (1..).zip(&self.hardware_ids) {
            let name = format!("HWID{index}");
            attributes.push(list_attribute(&name, &id.to_ascii_lowercase())?);
        }
        Ok(TrustList {
            usage: vec![CATALOG_LIST],
            identifier: identifier(members)?,
            made,
            subject_algorithm: without_parameters(CATALOG_MEMBER_2),
            subjects: members
                .iter()
                .map(|member| subject(member))
                .collect::<Result<_, _>>()?,
            attributes: Some(attributes),
        })
    }
}

/// Names the list: 16 bytes that differ where the members differ, and not from run to run.
fn identifier(members: &[&Member]) -> Result<OctetString, der::Error> {
    let all: Vec<u8> = members
        .iter()
        .flat_map(|member| member.hash.iter().copied().chain(member.name.bytes()))
        .collect();
    let hash = authenticode::flat_hash(&all);
    OctetString::new(hash.into_iter().take(16).collect::<Vec<u8>>())
}

fn subject(member: &Member) -> Result<Subject, der::Error> {
    let mut attributes = SetOfVec::new();
    attributes.insert(attribute(
        MEMBER_INFORMATION_2,
        Any::from_der(&NO_INFORMATION)?,
    )?)?;
    attributes.insert(attribute(
        NAME_AND_VALUE,
        Any::encode_from(&text("OSAttr", WINDOWS_10)?)?,
    )?)?;
    attributes.insert(attribute(
        NAME_AND_VALUE,
        Any::encode_from(&text("File", &member.name)?)?,
    )?)?;
    attributes.insert(attribute(
        INDIRECT_DATA,
        Any::encode_from(&indirect_data(member)?)?,
    )?)?;
    Ok(Subject {
        identifier: OctetString::new(member.hash)?,
        attributes,
    })
}

fn indirect_data(member: &Member) -> Result<IndirectData, der::Error> {
    let data = if member.is_image {
        IndirectType {
            kind: IMAGE_DATA,
            value: Any::from_der(&WHOLE_IMAGE)?,
        }
    } else {
        IndirectType {
            kind: CABINET_DATA,
            value: Any::from_der(&NO_LINK)?,
        }
    };
    Ok(IndirectData {
        data,
        digest: DigestInformation {
            algorithm: without_parameters(SHA_256),
            digest: OctetString::new(member.hash)?,
        },
    })
}

fn attribute(kind: ObjectIdentifier, value: Any) -> Result<SubjectAttribute, der::Error> {
    let mut values = SetOfVec::new();
    values.insert(value)?;
    Ok(SubjectAttribute { kind, values })
}

fn list_attribute(name: &str, value: &str) -> Result<ListAttribute, der::Error> {
    Ok(ListAttribute {
        kind: NAME_AND_VALUE,
        value: OctetString::new(text(name, value)?.to_der()?)?,
    })
}

/// A text with its name; the text ends in a zero, as Windows wants it.
fn text(name: &str, value: &str) -> Result<NameAndValue, der::Error> {
    let bytes: Vec<u8> = value
        .encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect();
    Ok(NameAndValue {
        name: BmpString::from_utf8(name)?,
        flags: TEXT_ATTRIBUTE,
        value: OctetString::new(bytes)?,
    })
}

fn without_parameters(oid: ObjectIdentifier) -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned {
        oid,
        parameters: Some(Any::from(Null)),
    }
}

/// Files and hashes that a catalogue lists, signed or not.
///
/// # Errors
///
/// `file` is no catalogue of the form that [`Catalog::to_der`] writes.
pub fn members(file: &[u8]) -> Result<Vec<Member>, CatalogError> {
    let message = Message::from_der(file)?;
    let list = message.content.content.list;
    list.subjects.iter().map(member).collect()
}

fn member(subject: &Subject) -> Result<Member, CatalogError> {
    let wrong = || der::Error::from(der::ErrorKind::Failed);
    let hash: Hash = subject
        .identifier
        .as_bytes()
        .try_into()
        .map_err(|_| wrong())?;
    let mut name = String::new();
    let mut is_image = false;
    for attribute in subject.attributes.iter() {
        for value in attribute.values.iter() {
            if attribute.kind == NAME_AND_VALUE {
                let pair: NameAndValue = value.decode_as()?;
                if pair.name.to_string() == "File" {
                    name = from_utf16(pair.value.as_bytes());
                }
            } else if attribute.kind == INDIRECT_DATA {
                let data: IndirectData = value.decode_as()?;
                is_image = data.data.kind == IMAGE_DATA;
                if data.digest.digest.as_bytes() != hash {
                    return Err(wrong().into());
                }
            }
        }
    }
    Ok(Member {
        name,
        hash,
        is_image,
    })
}

fn from_utf16(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).filter_map(|pair| match pair {
        [low, high] => Some(u16::from_le_bytes([*low, *high])),
        _ => None,
    });
    char::decode_utf16(units)
        .map(|result| result.unwrap_or(char::REPLACEMENT_CHARACTER))
        .take_while(|character| *character != '\0')
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        Catalog {
            members: vec![Member::new("A.inf", b"text"), Member::new("b.txt", b"more")],
            hardware_ids: vec!["Root\\SanProxy".to_string()],
            architecture: Architecture::Amd64,
            made: 1_763_600_000,
        }
    }

    #[test]
    fn members_are_read_back() {
        let bytes = catalog().to_der().unwrap();
        let mut read = members(&bytes).unwrap();
        read.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(read, catalog().members[..].to_vec());
    }

    #[test]
    fn same_contents_give_the_same_bytes_in_any_order() {
        let mut other = catalog();
        other.members.reverse();
        assert_eq!(catalog().to_der().unwrap(), other.to_der().unwrap());
    }

    #[test]
    fn hardware_identifier_is_in_the_list() {
        let bytes = catalog().to_der().unwrap();
        let wanted: Vec<u8> = "root\\sanproxy"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        assert!(bytes.windows(wanted.len()).any(|window| window == wanted));
    }

    #[test]
    fn file_that_is_no_catalog_is_refused() {
        assert!(members(b"no catalogue").is_err());
    }
}
